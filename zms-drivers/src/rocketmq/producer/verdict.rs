//! What the code of an answer says about a message.

use crate::rocketmq::remoting::answers;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has its place.
    Kept,
    /// The master has it; its disk or its slave did not answer in time.
    NotConfirmed,
    /// It was turned away because the broker cannot now.
    Later,
    /// Something failed inside; whether before or after it was kept is open.
    Fault,
    /// This broker has no such queue (any more), or takes nothing into it.
    NotHere,
    /// It would be turned away again.
    Never,
}

pub(super) fn verdict(code: i32, remark: &str) -> Verdict {
    match code {
        code if answers::denies(code, remark) => Verdict::Never,
        // 11: a master that should wait for a slave has none, so all that are in sync have it.
        0 | 11 => Verdict::Kept,
        10 | 12 => Verdict::NotConfirmed,
        2 | 14 => Verdict::Later,
        1 => Verdict::Fault,
        16 | 17 => Verdict::NotHere,
        _ => Verdict::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_became_of_the_message() {
        for (code, said) in [
            (0, Verdict::Kept),
            (1, Verdict::Fault),
            (2, Verdict::Later),
            (10, Verdict::NotConfirmed),
            (11, Verdict::Kept),
            (12, Verdict::NotConfirmed),
            (13, Verdict::Never),
            (14, Verdict::Later),
            (17, Verdict::NotHere),
            (204, Verdict::Never),
        ] {
            assert_eq!(verdict(code, ""), said, "{code}");
        }
        for (code, remark, said) in [
            (
                16,
                "User:application has no permission to access Topic:orders from 127.0.0.1, no matched policies.",
                Verdict::Never,
            ),
            (16, "check signature failed.", Verdict::Never),
            (16, "the broker[127.0.0.1] sending message is forbidden", Verdict::NotHere),
            (16, "the topic[orders] sending message is forbidden", Verdict::NotHere),
            (1, "org.apache.rocketmq.acl.common.AclException: No default permission for orders", Verdict::Never),
            (1, "java.lang.NullPointerException", Verdict::Fault),
        ] {
            assert_eq!(verdict(code, remark), said, "{code} {remark}");
        }
    }
}
