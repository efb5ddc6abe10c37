//! Where everything lies on a host. One prefix holds all of it, so that removing ZMS is removing a folder.
//!
//! ```text
//! bin/zms-agent            the agent (a symbolic link to its release)
//! cas/<sha512>             archives as they came
//! releases/<package>/      archives unpacked side by side
//! conf/<id>/<hash>/        rendered files of one spec; conf/<id>/current points at the wanted one
//! data/<id>/  log/<id>/    what an instance writes
//! pki/                     the host's key and certificate, the portal's authority
//! run/                     supervisord's socket and configuration, locks, one program file an instance
//! state/                   which portal it belongs to, desired state, last report, last word from the portal
//! trash/                   data of instances that are gone
//! ```

use std::path::{Path, PathBuf};

use zms_core::host::SpecHash;
use zms_core::names::{InstanceId, Sha512};
use zms_core::package::PackageRef;

/// The folder of ZMS on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: PathBuf,
}

/// Why a folder cannot be the prefix.
#[derive(Debug, thiserror::Error)]
#[error("prefix {0:?}: must be an absolute path of letters, digits and / _ . - (supervisord's configuration takes nothing else)")]
pub struct PrefixError(PathBuf);

impl Layout {
    /// Checks the prefix: its text goes into supervisord's configuration, where `%`, `;` and blanks have a meaning.
    pub fn new(prefix: impl Into<PathBuf>) -> Result<Self, PrefixError> {
        let prefix = prefix.into();
        let fits = prefix.to_str().is_some_and(|text| {
            text.starts_with('/')
                && text.len() > 1
                && !text.split('/').any(|part| part == "..")
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_.-".contains(&b))
        });
        if fits { Ok(Self { prefix }) } else { Err(PrefixError(prefix)) }
    }

    /// The folder itself.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The agent that supervisord starts processes with.
    pub fn agent_binary(&self) -> PathBuf {
        self.prefix.join("bin/zms-agent")
    }

    /// Archives by their hash.
    pub fn archives(&self) -> PathBuf {
        self.prefix.join("cas")
    }

    /// One archive.
    pub fn archive(&self, sha512: &Sha512) -> PathBuf {
        self.archives().join(sha512.as_str())
    }

    /// Unpacked packages.
    pub fn releases(&self) -> PathBuf {
        self.prefix.join("releases")
    }

    /// One unpacked package.
    pub fn release(&self, package: &PackageRef) -> PathBuf {
        self.releases().join(package.folder())
    }

    /// All configuration folders of an instance.
    pub fn confs(&self, id: &InstanceId) -> PathBuf {
        self.prefix.join("conf").join(id.as_str())
    }

    /// The configuration folder of one spec.
    pub fn conf(&self, id: &InstanceId, hash: &SpecHash) -> PathBuf {
        self.confs(id).join(hash.as_str())
    }

    /// Symbolic link to the wanted configuration folder.
    pub fn current_conf(&self, id: &InstanceId) -> PathBuf {
        self.confs(id).join("current")
    }

    /// What `zms-agent exec` reads.
    pub fn exec_file(&self, id: &InstanceId) -> PathBuf {
        self.current_conf(id).join("exec.json")
    }

    /// What an instance writes and must never lose.
    pub fn data_dir(&self, id: &InstanceId) -> PathBuf {
        self.prefix.join("data").join(id.as_str())
    }

    /// What an instance writes and needs no longer when it ends. Not `/tmp`: nothing of ours stays there when it is killed, and there are hosts on which no
    /// library may be loaded from there.
    pub fn tmp_dir(&self, id: &InstanceId) -> PathBuf {
        self.prefix.join("tmp").join(id.as_str())
    }

    /// Where data of deleted instances waits for a person.
    pub fn trash(&self) -> PathBuf {
        self.prefix.join("trash")
    }

    /// The log of an instance: its standard output and error.
    pub fn log_file(&self, id: &InstanceId) -> PathBuf {
        self.prefix.join("log").join(id.as_str()).join("out.log")
    }

    /// Files that supervisord includes.
    pub fn programs_dir(&self) -> PathBuf {
        self.prefix.join("run/programs")
    }

    /// supervisord's file of one instance.
    pub fn program_file(&self, id: &InstanceId) -> PathBuf {
        self.programs_dir().join(format!("{id}.conf"))
    }

    /// The lock that an instance's process holds for as long as it lives.
    pub fn lock(&self, id: &InstanceId) -> PathBuf {
        self.prefix.join("run/locks").join(format!("{id}.lock"))
    }

    /// The lock of the agent that acts; a second one waits for it.
    pub fn agent_lock(&self) -> PathBuf {
        self.prefix.join("run/locks/agent.lock")
    }

    /// supervisord's socket.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.prefix.join("run/supervisord.sock")
    }

    /// supervisord's configuration.
    pub fn supervisor_conf(&self) -> PathBuf {
        self.prefix.join("run/supervisord.conf")
    }

    /// supervisord's own log.
    pub fn supervisor_log(&self) -> PathBuf {
        self.prefix.join("log/supervisord/out.log")
    }

    /// The desired state as it was last received.
    pub fn desired(&self) -> PathBuf {
        self.prefix.join("state/desired.json")
    }

    /// What the agent last found.
    pub fn report(&self) -> PathBuf {
        self.prefix.join("state/report.json")
    }

    /// The folder of the host's key and certificate.
    pub fn pki(&self) -> PathBuf {
        self.prefix.join("pki")
    }

    /// The certificate of the authority that the portal's certificates come from.
    pub fn authority(&self) -> PathBuf {
        self.pki().join("ca.pem")
    }

    /// Which portal this host belongs to.
    pub fn membership(&self) -> PathBuf {
        self.prefix.join("state/portal.json")
    }

    /// The name under which a join that has not succeeded yet is asked for again.
    pub fn enrolment(&self) -> PathBuf {
        self.prefix.join("state/enrolment")
    }

    /// How the last request to the portal ended.
    pub fn contact(&self) -> PathBuf {
        self.prefix.join("state/contact.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_supervisord_would_misread_is_refused() {
        for good in ["/opt/zms", "/home/a_b/.zms", "/tmp/zms-1"] {
            assert!(Layout::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "zms", "/a b", "/a%b", "/a;b", "/a/../b", "/ä"] {
            assert!(Layout::new(bad).is_err(), "{bad:?}");
        }
    }
}
