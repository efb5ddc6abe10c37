//! What collectors hear, and what they tell. JSON over HTTPS with client certificates on both sides.
//!
//! | call | who | what |
//! |---|---|---|
//! | `POST /frames/v1` on a collector (8445) | agent | [`Frame`]s of its host, at most one each 10 s |
//! | `GET /collector/v1/orders` on the portal (8444) | collector | [`Orders`]: what to scrape, whom to believe, where to write |
//! | `POST /collector/v1/snapshot` on the portal (8444) | the leading collector | [`Snapshot`] of the tick that ended |

mod figures;
mod frame;
mod orders;
mod snapshot;

pub use figures::{FigureWish, Jolokia, Read};
pub use frame::{Frame, Frames, HostFigures, InstanceFigures};
pub use orders::{Adopted, BrokerLogin, BrokerTls, Login, Mechanism, MetadataStore, MetricStore, Orders, Placed, Watched};
pub use snapshot::{
    Attempt, ClusterFigures, ConsumerFigures, GroupFigures, HostFrames, ProducerFigures, QuietGroup, Reach, Sink, Snapshot,
    TopicFigures,
};

/// Header of the portal's answer 409 to a snapshot: the highest fence that it has heard of.
pub const FENCE_HEADER: &str = "zms-fence";
