//! What the catalogue finds wrong, in the reader's language.

use zms_core::catalogue::Fault;

use crate::web::messages::Messages;

/// The sentence of a fault.
pub fn say(m: Messages, fault: &Fault) -> String {
    match fault {
        Fault::NotInteger { value } => m.services_fault_not_integer(value),
        Fault::NotBoolean { value } => m.services_fault_not_boolean(value),
        Fault::NotChoice { value, choices } => m.services_fault_not_choice(value, choices),
        Fault::NotBytes { value, unit } => m.services_fault_not_bytes(value, unit),
        Fault::NotDuration { value, unit } => m.services_fault_not_duration(value, unit),
        Fault::NotWhole { value, unit } => m.services_fault_not_whole(value, unit),
        Fault::TooSmall { value, min } => m.services_fault_too_small(value, min),
        Fault::TooLarge { value, max } => m.services_fault_too_large(value, max),
        Fault::Exceeds { value, limit, of } => m.services_fault_exceeds(value, limit, of),
        Fault::TooShort { min } => m.services_fault_too_short(min),
        Fault::TooLong { max } => m.services_fault_too_long(max),
        Fault::BadCharacter { character, allowed } => m.services_fault_bad_character(character, allowed),
        Fault::BadLine { line } => m.services_fault_bad_line(line),
        Fault::OwnedKey { key } => m.services_fault_owned_key(key),
        Fault::NamesCode { text } => m.services_fault_names_code(text),
        Fault::DoubleKey { key } => m.services_fault_double_key(key),
        Fault::RefusedOption { option } => m.services_fault_refused_option(option),
        Fault::UnknownSetting { kind } => m.services_fault_unknown_setting(kind),
        Fault::MissingPackage { package } => m.services_fault_missing_package(package),
        Fault::UnknownPackage { package } => m.services_fault_unknown_package(package),
        Fault::UnfitPackage { package, version, fits } => m.services_fault_unfit_package(package, version, fits),
        Fault::MemberCount { count, allowed } => m.services_fault_member_count(count, allowed),
        Fault::BadAddress { value } => m.services_fault_bad_address(value),
        Fault::BadNodeId { value, min, max } => m.services_fault_bad_node_id(value, min, max),
        Fault::SameAs { other } => m.services_fault_same_as(other),
        Fault::PortTaken { port, other } => m.services_fault_port_taken(port, other),
        Fault::UnknownRole { role, roles } => m.services_fault_unknown_role(role, roles),
        Fault::MissingRole { role } => m.services_fault_missing_role(role),
        Fault::Settled { setting } => m.services_fault_settled(setting),
        Fault::BadGenerated { name } => m.services_fault_bad_generated(name),
    }
}
