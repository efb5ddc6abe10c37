//! Settings of a process: a TOML file, over it the environment (`ZMS_<FLAG>`), over it flags.
//!
//! The file's values become the defaults of the flags, so each setting is described once, in the command's own help. An unknown
//! key is an error that names the key meant.

use clap::Command;

/// What is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No TOML, with the place.
    #[error("{0}")]
    Syntax(String),
    /// No flag of this name.
    #[error("unknown key `{key}`{}", .meant.as_ref().map(|m| format!("; did you mean `{m}`?")).unwrap_or_default())]
    Unknown {
        /// As it stands in the file.
        key: String,
        /// The nearest key there is.
        meant: Option<String>,
    },
    /// A table, a list or a date.
    #[error("key `{0}`: must be a text, a number, true or false")]
    Form(String),
}

/// Makes the values of the file `text` defaults of the command's flags and of its subcommands' flags.
pub fn with_file(mut command: Command, text: &str) -> Result<Command, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax(error.to_string()))?;
    for (key, value) in table {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_) => return Err(ConfigError::Form(key)),
        };
        let flag = key.replace('_', "-");
        let mut found = false;
        command = set(command, &flag, &value, &mut found);
        if !found {
            return Err(ConfigError::Unknown { meant: nearest(&command, &flag), key });
        }
    }
    Ok(command)
}

fn set(mut command: Command, flag: &str, value: &str, found: &mut bool) -> Command {
    let id = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).map(|arg| arg.get_id().clone());
    if let Some(id) = id {
        *found = true;
        command = command.mut_arg(id, |arg| arg.required(false).default_value(value.to_owned()));
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| set(sub, flag, value, found));
    }
    command
}

/// Names of all flags, as keys of the file.
fn keys(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| long.replace('-', "_"));
    own.chain(command.get_subcommands().flat_map(keys)).collect()
}

fn nearest(command: &Command, flag: &str) -> Option<String> {
    let key = flag.replace('-', "_");
    let all = keys(command).into_iter().map(|known| (strsim::jaro_winkler(&known, &key), known));
    all.filter(|(likeness, _)| *likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgMatches};

    use super::*;

    fn command() -> Command {
        let listen = Arg::new("listen").long("ui-listen").env("ZMS_TEST_UI_LISTEN").default_value("builtin");
        Command::new("zms").subcommand(Command::new("run").arg(listen))
    }

    fn listen(file: &str, flags: &[&str]) -> String {
        let arguments = ["zms", "run"].into_iter().chain(flags.iter().copied());
        let matches: ArgMatches = with_file(command(), file).unwrap().get_matches_from(arguments);
        matches.subcommand().unwrap().1.get_one::<String>("listen").unwrap().clone()
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_what_is_built_in() {
        assert_eq!(listen("", &[]), "builtin");
        assert_eq!(listen("ui_listen = \"file\"", &[]), "file");
        assert_eq!(listen("ui_listen = \"file\"", &["--ui-listen", "flag"]), "flag");
    }

    #[test]
    fn an_unknown_key_names_the_one_that_was_meant() {
        let error = with_file(command(), "ui_listne = \"x\"").unwrap_err().to_string();
        assert_eq!(error, "unknown key `ui_listne`; did you mean `ui_listen`?");
        let error = with_file(command(), "colour = \"x\"").unwrap_err().to_string();
        assert_eq!(error, "unknown key `colour`");
    }

    #[test]
    fn half_a_file_and_a_table_are_errors() {
        assert!(matches!(with_file(command(), "ui_listen = \"x"), Err(ConfigError::Syntax(_))));
        assert!(matches!(with_file(command(), "[ui_listen]\na = 1"), Err(ConfigError::Form(_))));
    }
}
