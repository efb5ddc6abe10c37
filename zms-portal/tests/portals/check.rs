//! What must be so when all is done, whatever was killed.

use sqlx::Row as _;

use crate::stage::Stage;

/// What can be wrong with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not end.
    Stuck,
    /// An outcome was applied twice.
    Twice,
    /// An outcome was never applied.
    Lost,
    /// The resource was not changed.
    Undone,
    /// An effect is not marked as done, or is leased still.
    Open,
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::Stuck, Self::Twice, Self::Lost, Self::Undone, Self::Open];
}

/// Every flow with a fault.
pub async fn faults(stage: &Stage, ids: &[String]) -> Vec<(String, Fault)> {
    let mut found = Vec::new();
    for id in ids {
        let fault = |fault| (id.clone(), fault);
        let status: String = one(stage, "select status from flows where id = $1", id).await.try_get(0).unwrap();
        if status != "done" {
            found.push(fault(Fault::Stuck));
        }
        let events = "select what from flow_events where flow_id = $1 order by what";
        let events: Vec<String> = sqlx::query_scalar(events).bind(id).fetch_all(stage.app.db.read()).await.unwrap();
        let expected = [1, 2, 3].map(|n| format!("{{\"n\":{n}}}"));
        let times = |event: &String| events.iter().filter(|other| *other == event).count();
        if expected.iter().any(|event| times(event) > 1) {
            found.push(fault(Fault::Twice));
        }
        if expected.iter().any(|event| times(event) == 0) {
            found.push(fault(Fault::Lost));
        }
        if stage.resource.of(id) != [1, 2, 3] {
            found.push(fault(Fault::Undone));
        }
        let open = "select count(*) from effects where flow_id = $1 and (state <> 'done' or lease_token is not null or lease_until <> 0)";
        if one(stage, open, id).await.try_get::<i64, _>(0).unwrap() != 0 {
            found.push(fault(Fault::Open));
        }
    }
    found
}

async fn one(stage: &Stage, sql: &'static str, id: &str) -> sqlx::any::AnyRow {
    sqlx::query(sql).bind(id).fetch_one(stage.app.db.read()).await.unwrap()
}
