//! The HTTP client.

/// An address as it may be shown: without the user that somebody may have written into it.
pub(super) fn shown(url: &str) -> &str {
    if url.contains('@') { "[has a user in it]" } else { url }
}
