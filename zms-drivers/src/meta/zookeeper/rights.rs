use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest as hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zookeeper_client::{Acl, AuthId, Permission};

use super::Access;

/// Who has rights, each as [`digest`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    /// Everything, everywhere.
    pub portal: String,
    /// Applications.
    pub sdk: String,
    /// Collectors.
    pub collector: String,
    /// Mirrors of another room.
    pub backup: String,
    /// Everybody may read everything: while Java clients of the first ZMS are served, which have no identity.
    pub world_reads: bool,
}

/// The id of a digest identity as it stands in rights: `user:` and the Base64 of SHA-1 of `user:password`. ZooKeeper knows no better.
pub fn digest(user: &str, password: &str) -> String {
    let sum = hash(&SHA1_FOR_LEGACY_USE_ONLY, format!("{user}:{password}").as_bytes());
    format!("{user}:{}", STANDARD.encode(sum))
}

/// The rights of a node that is made.
pub(super) fn list(identities: Option<&Identities>, access: Access) -> Vec<Acl> {
    let world = |rights| Acl::new(rights, AuthId::anyone());
    let Some(identities) = identities else { return vec![world(Permission::ALL)] };
    let of = |id: &String, rights| Acl::new(rights, AuthId::new("digest", id));
    let Identities { portal, sdk, collector, backup, world_reads } = identities;
    let all = of(portal, Permission::ALL);
    let (read, create, delete) = (Permission::READ, Permission::CREATE, Permission::DELETE);
    let mut rights = match access {
        Access::Portal => return vec![all],
        Access::Read => vec![all, of(sdk, read), of(collector, read), of(backup, read)],
        Access::ReadCreate => vec![all, of(sdk, read | create), of(collector, read | create), of(backup, read)],
        Access::Lease => vec![all, of(collector, read | create | delete | Permission::WRITE), of(backup, read)],
        Access::Legacy => vec![all, of(collector, read), of(backup, read), world(read | create | delete)],
    };
    if *world_reads && access != Access::Legacy {
        rights.push(world(read));
    }
    rights
}

/// The rights of an ephemeral node: ours, and that everybody may look. We do not know the others' ids, and what stands there is no secret.
pub(super) fn ephemeral(identified: bool) -> Vec<Acl> {
    if identified {
        vec![Acl::new(Permission::ALL, AuthId::authed()), Acl::new(Permission::READ, AuthId::anyone())]
    } else {
        vec![Acl::new(Permission::ALL, AuthId::anyone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_zookeeper_computes() {
        // From ZooKeeper's own documentation of the super user.
        assert_eq!(digest("super", "admin"), "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
    }

    #[test]
    fn nobody_but_the_portal_changes_data_except_the_holder_of_a_lease() {
        let identities = Identities {
            portal: digest("portal", "p"),
            sdk: digest("sdk", "s"),
            collector: digest("collector", "c"),
            backup: digest("backup", "b"),
            world_reads: false,
        };
        for access in [Access::Portal, Access::Read, Access::ReadCreate, Access::Lease, Access::Legacy] {
            let rights = list(Some(&identities), access);
            assert!(rights[0].id().starts_with("portal:") && rights[0].permission() == Permission::ALL);
            for other in &rights[1..] {
                let may_write = other.permission().has(Permission::WRITE);
                assert_eq!(may_write, access == Access::Lease && other.id().starts_with("collector:"), "{access:?} {other:?}");
            }
        }
    }
}
