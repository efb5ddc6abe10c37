//! What an error of the database means, on both alike.

use sqlx::Error;

/// Is this the violation of a unique constraint?
pub fn is_taken(error: &Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Is the database away, or too busy? The same request may succeed a moment later.
pub fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => true,
        Error::Database(error) => error.code().is_some_and(|code| passes(&code)),
        _ => false,
    }
}

/// By SQLSTATE (PostgreSQL, five signs) or result code (SQLite, a number).
fn passes(code: &str) -> bool {
    match code {
        // Shut down or starting; too many connections; no lock or no answer in time; a transaction that stood still.
        "57P01" | "57P02" | "57P03" | "53300" | "55P03" | "57014" | "25P03" => true,
        // No two of our transactions meet in these (ADR 0007); an operator's own session may.
        "40001" | "40P01" => true,
        // SQLITE_BUSY and SQLITE_LOCKED with what they are extended by.
        "5" | "6" | "261" | "262" | "517" | "773" => true,
        other => other.len() == 5 && other.starts_with("08"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_a_fault() {
        for (code, expected) in [
            ("57P01", true),
            ("08006", true),
            ("55P03", true),
            ("5", true),
            ("42601", false),
            ("23505", false),
            ("1", false),
            ("08", false),
        ] {
            assert_eq!(passes(code), expected, "{code}");
        }
        assert!(is_unavailable(&Error::PoolTimedOut) && !is_unavailable(&Error::RowNotFound));
    }
}
