//! A person who is signed in.

use super::Role;
use crate::error::{Error, Result};

/// A person who is signed in; a handler that takes one is for signed-in people only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// ULID.
    pub id: String,
    /// What the person signs in with.
    pub name: String,
    /// Granted, in the order of [`Role::ALL`].
    pub roles: Vec<Role>,
    /// `en`, `zh`, or empty: the browser's.
    pub language: String,
}

impl User {
    /// Does one of the person's roles include `role`? Whoever has a role may look; without any, not even that.
    pub fn may(&self, role: Role) -> bool {
        self.roles.iter().any(|granted| *granted == Role::Administrator || *granted == role || role == Role::Viewer)
    }

    /// Refuses who may not.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, role: Role) -> Result<()> {
        if self.may(role) { Ok(()) } else { Err(Error::Forbidden) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_may_everything_and_everybody_with_a_role_may_look() {
        for granted in Role::ALL {
            let user = User { id: String::new(), name: String::new(), roles: vec![granted], language: String::new() };
            for asked in Role::ALL {
                let expected = granted == Role::Administrator || asked == granted || asked == Role::Viewer;
                assert_eq!(user.may(asked), expected, "{granted} asks for {asked}");
                assert_eq!(user.require(asked).is_ok(), expected);
            }
        }
        let nobody = User { id: String::new(), name: String::new(), roles: Vec::new(), language: String::new() };
        assert!(!Role::ALL.into_iter().any(|role| nobody.may(role)), "without a role one may not even look");
    }
}
