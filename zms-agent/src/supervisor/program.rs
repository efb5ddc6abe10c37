//! The files that supervisord reads. Pure: the same arguments give the same bytes, so a file on disk can be compared.
//!
//! One broken file makes supervisord refuse to read any, and `%`, `;`, quotes and blanks mean something in it. So these
//! are fixed lines with two things put in: the prefix, which [`Layout`] lets through only without such characters, and
//! an instance id, which cannot have them. Command lines and environments of instances never get here, they are in
//! `exec.json`.

use zms_core::host::{Exec, StopSignal};
use zms_core::names::InstanceId;

use crate::layout::Layout;
use crate::process::{INSTANCE_VARIABLE, SPEC_VARIABLE};

/// What supervisord itself and the agent are called; no instance can be named like that.
pub const SUPERVISORD: &str = "supervisord";
/// See [`SUPERVISORD`].
pub const AGENT: &str = "zms-agent";

/// Longest path of the socket: 107 bytes fit into an address, and supervisord first binds the path with `.<pid>` behind.
const LONGEST_SOCKET: usize = 107 - ".4194304".len();

/// Why an instance or a prefix cannot be had. Checked before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The id is one of ours.
    #[error("instance {0}: this name is taken by ZMS itself; choose another one")]
    Reserved(InstanceId),
    /// The prefix is too long for a socket in it.
    #[error("socket {path}: a socket's path has at most {LONGEST_SOCKET} bytes here, this one has {}; choose a shorter prefix", path.len())]
    LongPrefix {
        /// The socket's path.
        path: String,
    },
}

/// May an instance have this id?
pub fn check_id(id: &InstanceId) -> Result<(), Refused> {
    if [SUPERVISORD, AGENT].contains(&id.as_str()) { Err(Refused::Reserved(id.clone())) } else { Ok(()) }
}

/// Can supervisord have its socket below this prefix?
pub fn check_prefix(layout: &Layout) -> Result<(), Refused> {
    let path = layout.supervisor_socket().display().to_string();
    if path.len() > LONGEST_SOCKET { Err(Refused::LongPrefix { path }) } else { Ok(()) }
}

/// The program file of an instance.
///
/// A stop signals the process alone, a kill its whole group. supervisord keeps no output: `zms-agent exec` has put the
/// log file in place of its pipes. What supervisord has in its own environment as marker is emptied, so that a process
/// counts as the instance only once `zms-agent exec` has become it.
pub fn text(layout: &Layout, id: &InstanceId, exec: &Exec) -> String {
    section(layout, id.as_str(), exec.start_secs, exec.stop_signal, exec.stop_wait_s)
}

/// The agent as a program of supervisord, for hosts where nothing else starts it; `exec.json` for it is written by
/// [`super::server::write_agent`].
pub fn agent_text(layout: &Layout) -> String {
    section(layout, AGENT, 5, StopSignal::Term, 30)
}

fn section(layout: &Layout, name: &str, start_secs: u32, signal: StopSignal, stop_wait_s: u32) -> String {
    let agent = layout.agent_binary();
    let (agent, prefix) = (agent.display(), layout.prefix().display());
    format!(
        "[program:{name}]\n\
         command={agent} --prefix {prefix} exec {name}\n\
         environment={INSTANCE_VARIABLE}=\"\",{SPEC_VARIABLE}=\"\"\n\
         autostart=true\n\
         autorestart=true\n\
         startsecs={start_secs}\n\
         startretries=3\n\
         stopsignal={}\n\
         stopwaitsecs={stop_wait_s}\n\
         stopasgroup=false\n\
         killasgroup=true\n\
         redirect_stderr=true\n\
         stdout_logfile=NONE\n",
        signal.name()
    )
}

/// supervisord's own configuration.
///
/// `minfds` stays at its default: supervisord does not start when it is above the hard limit. It logs to its standard
/// output, which is its log file as for every other instance, and to nowhere else, so that one rotation serves all.
pub fn supervisord_conf(layout: &Layout) -> String {
    let socket = layout.supervisor_socket();
    let (socket, programs) = (socket.display(), layout.programs_dir());
    let (programs, prefix) = (programs.display(), layout.prefix().display());
    format!(
        "[unix_http_server]\n\
         file={socket}\n\
         chmod=0700\n\
         \n\
         [supervisord]\n\
         nodaemon=true\n\
         logfile=/dev/null\n\
         logfile_maxbytes=0\n\
         loglevel=info\n\
         pidfile={prefix}/run/supervisord.pid\n\
         umask=027\n\
         nocleanup=true\n\
         \n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         \n\
         [include]\n\
         files={programs}/*.conf\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> Exec {
        Exec {
            argv: vec!["{java}".to_owned(), "-Da=%(x)s ; \"".to_owned()],
            env: [("A".to_owned(), "50%".to_owned())].into(),
            nofile: 100_000,
            stop_signal: StopSignal::Int,
            stop_wait_s: 300,
            start_secs: 15,
        }
    }

    #[test]
    fn the_program_file_is_fixed_but_for_prefix_id_and_waits() {
        let layout = Layout::new("/opt/zms").unwrap();
        let id = InstanceId::new("kafka-1").unwrap();
        let expected = "\
[program:kafka-1]
command=/opt/zms/bin/zms-agent --prefix /opt/zms exec kafka-1
environment=ZMS_INSTANCE=\"\",ZMS_SPEC=\"\"
autostart=true
autorestart=true
startsecs=15
startretries=3
stopsignal=INT
stopwaitsecs=300
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
";
        assert_eq!(text(&layout, &id, &exec()), expected);
    }

    #[test]
    fn the_agent_is_a_program_like_the_others() {
        let layout = Layout::new("/opt/zms").unwrap();
        let text = agent_text(&layout);
        assert!(
            text.starts_with("[program:zms-agent]\ncommand=/opt/zms/bin/zms-agent --prefix /opt/zms exec zms-agent\n"),
            "{text}"
        );
    }

    #[test]
    fn supervisord_listens_on_a_closed_socket_only() {
        let text = supervisord_conf(&Layout::new("/opt/zms").unwrap());
        assert!(text.contains("\nfile=/opt/zms/run/supervisord.sock\nchmod=0700\n"), "{text}");
        assert!(text.contains("\nfiles=/opt/zms/run/programs/*.conf\n"), "{text}");
        assert!(!text.contains("inet_http_server") && !text.contains("minfds"), "{text}");
    }

    #[test]
    fn nothing_that_supervisord_would_misread_gets_into_its_files() {
        // Neither an id nor a prefix with these can exist, and nothing else of a spec is written.
        for bad in ["a b", "a%b", "a;b", "a\"b", "a\nb", "a#b", "a=b", "a]b", "a'b", "ä"] {
            assert!(InstanceId::new(bad).is_err(), "{bad:?}");
            assert!(Layout::new(format!("/opt/{bad}")).is_err(), "{bad:?}");
        }
        let text = text(&Layout::new("/opt/zms").unwrap(), &InstanceId::new("k").unwrap(), &exec());
        assert!(!text.contains('%') && !text.contains(';'), "{text}");
    }

    #[test]
    fn our_own_names_and_prefixes_too_long_for_a_socket_are_refused() {
        for (id, fits) in [("supervisord", false), ("zms-agent", false), ("kafka-1", true), ("agent", true)] {
            assert_eq!(check_id(&InstanceId::new(id).unwrap()).is_ok(), fits, "{id}");
        }
        for (length, fits) in [(10, true), (78, true), (79, false), (200, false)] {
            let layout = Layout::new(format!("/{}", "p".repeat(length - 1))).unwrap();
            assert_eq!(check_prefix(&layout).is_ok(), fits, "{length}: {:?}", check_prefix(&layout));
        }
    }
}
