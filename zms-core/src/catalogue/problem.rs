//! What is wrong with what people decided, so that a form can show it at its field in either language.

use serde::Serialize;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Problem {
    /// A setting's key, `<instance>/<key>` for a member's own value, `<instance>/address`, `<instance>/node_id`,
    /// `members`, or `package:<name>`.
    pub field: String,
    /// What is wrong, with its arguments: what a page translates.
    #[serde(flatten)]
    pub fault: Fault,
    /// The same in English.
    pub message: String,
}

impl Problem {
    /// The stable name of what is wrong, for example `too_large`.
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $code:literal { $($field:ident),* } $message:literal;)*) => {
        /// What is wrong, with what a translation needs.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
        #[serde(tag = "code", content = "arguments")]
        pub enum Fault {
            $(
                $(#[$doc])*
                #[error($message)]
                #[serde(rename = $code)]
                #[expect(missing_docs, reason = "the message names each field")]
                $name { $($field: String),* },
            )*
        }

        impl Fault {
            /// Its stable name.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// Its arguments, in the order of their declaration.
            pub fn arguments(&self) -> Vec<&str> {
                match self { $(Self::$name { $($field),* } => vec![$($field.as_str()),*],)* }
            }
        }
    };
}

faults! {
    /// Not a whole number.
    NotInteger "not_integer" { value } "\"{value}\" is not a whole number";
    /// Neither true nor false.
    NotBoolean "not_boolean" { value } "\"{value}\" is neither true nor false";
    /// Not one of the choices.
    NotChoice "not_choice" { value, choices } "\"{value}\" is not one of {choices}";
    /// Not a number of bytes.
    NotBytes "not_bytes" { value, unit } "\"{value}\" is not a size; write for example 512MiB or 2GiB, or a number of {unit}";
    /// Not a duration.
    NotDuration "not_duration" { value, unit } "\"{value}\" is not a duration; write for example 30s, 12h or 7d, or a number of {unit}";
    /// Finer than its unit.
    NotWhole "not_whole" { value, unit } "\"{value}\" is not a whole number of {unit}";
    /// Below the smallest value.
    TooSmall "too_small" { value, min } "{value} is below the smallest value, {min}";
    /// Above the largest value.
    TooLarge "too_large" { value, max } "{value} is above the largest value, {max}";
    /// Above what another value allows.
    Exceeds "exceeds" { value, limit, of } "{value} is above {limit}, which {of} allows";
    /// A text with too few characters.
    TooShort "too_short" { min } "has fewer than {min} characters";
    /// A text with too many characters.
    TooLong "too_long" { max } "has more than {max} characters";
    /// A character that a value cannot have.
    BadCharacter "bad_character" { character, allowed } "must not contain {character}; allowed are {allowed}";
    /// A line of a list that is not `key=value`.
    BadLine "bad_line" { line } "\"{line}\" is not of the form key=value, the key with letters, digits and . _ - only";
    /// A key that the catalogue sets by itself or by another setting.
    OwnedKey "owned_key" { key } "{key} is set by ZMS or by another setting, or would change how ZMS reaches the service";
    /// A key or text that names code to load or a command to run.
    NamesCode "names_code" { text } "\"{text}\" would name code to load or a command to run";
    /// The same key twice.
    DoubleKey "double_key" { key } "{key} is given twice";
    /// An option of the JVM that is not for people.
    RefusedOption "refused_option" { option } "{option} is not allowed here; allowed are -D of the listed prefixes, -XX: without files, -Xss, -Xmn and -Xlog to stdout";
    /// No such setting.
    UnknownSetting "unknown_setting" { kind } "{kind} has no such setting";
    /// A package is not chosen.
    MissingPackage "missing_package" { package } "no version of package {package} is chosen";
    /// A package that the kind does not use.
    UnknownPackage "unknown_package" { package } "package {package} is not used by this kind of service, or is given twice";
    /// A version for which the catalogue was not written.
    UnfitPackage "unfit_package" { package, version, fits } "{package} {version} does not fit; this catalogue is for {fits}";
    /// A number of hosts that makes no sense for this kind.
    MemberCount "member_count" { count, allowed } "{count} hosts; allowed are {allowed}";
    /// An address that nobody could dial.
    BadAddress "bad_address" { value } "\"{value}\" is neither an IP address of one host nor a host name";
    /// A node id out of range.
    BadNodeId "bad_node_id" { value, min, max } "node id {value} is not within {min} to {max}";
    /// Two members with the same id.
    SameAs "same_as" { other } "is the same as that of {other}";
    /// Two listeners on one port of one host.
    PortTaken "port_taken" { port, other } "port {port} is also taken by {other} on the same address";
    /// No such role.
    UnknownRole "unknown_role" { role, roles } "\"{role}\" is not one of the roles {roles}";
    /// No member has a role that the service needs.
    MissingRole "missing_role" { role } "no member has the role {role}, without which the others do nothing";
    /// A setting that decides which members there are.
    Settled "settled" { setting } "{setting} decides which instances there are, so it is fixed once the service is made";
    /// A generated value is missing or was not made by this catalogue.
    BadGenerated "bad_generated" { name } "the generated value {name} is missing or not of its form";
}

impl Fault {
    pub(super) fn at(self, field: impl Into<String>) -> Problem {
        Problem { field: field.into(), message: self.to_string(), fault: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_goes_out_with_field_code_arguments_and_a_sentence() {
        let problem = Fault::TooLarge { value: "70000".to_owned(), max: "65535".to_owned() }.at("client_port");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "field": "client_port",
                "code": "too_large",
                "arguments": {"value": "70000", "max": "65535"},
                "message": "70000 is above the largest value, 65535",
            })
        );
        assert_eq!(problem.code(), "too_large");
        assert_eq!(problem.fault.arguments(), ["70000", "65535"]);
    }
}
