//! The desired state of a host: what its instances' plans add up to, and what may be fetched because of it.

use zms_core::collect::FigureWish;
use zms_core::host::{DesiredState, InstanceSpec};
use zms_core::names::Sha512;
use zms_core::package::PackageRef;

use super::store;
use crate::app::{App, now_ms};
use crate::db::Tx;
use crate::engine;
use crate::error::Result;

/// What supervisord comes in.
const SUPERVISOR: &str = "supervisor";

/// Computes the desired state of a host anew from the specs of its instances, generation + 1; nothing is written when it already
/// says that. Call [`super::Hub::wake`] after the commit.
///
/// # Errors
/// [`crate::error::Error::NotFound`] when there is no such host.
pub async fn set_desired(tx: &mut Tx, app: &App, host_id: &str) -> Result<()> {
    write(tx, app, host_id, 0).await
}

/// The same, with a generation beyond `above`: a host that was another one before, or that knows what an older database does not.
pub(super) async fn set_desired_above(tx: &mut Tx, app: &App, host_id: &str, above: i64) -> Result<()> {
    write(tx, app, host_id, above).await
}

/// The same for all hosts of an environment: its collectors are not where they were. Their ids, to be woken after the commit.
pub async fn set_desired_of_environment(tx: &mut Tx, app: &App, environment_id: &str) -> Result<Vec<String>> {
    let hosts = store::ids(tx, environment_id).await?;
    for host in &hosts {
        write(tx, app, host, 0).await?;
    }
    Ok(hosts)
}

async fn write(tx: &mut Tx, app: &App, host_id: &str, above: i64) -> Result<()> {
    let (generation, before) = store::next_generation(tx, host_id, above).await?;
    let before: Option<DesiredState> = before.and_then(|text| serde_json::from_str(&text).ok());
    let specs = store::specs(tx, host_id).await?;
    let instances: Vec<InstanceSpec> = specs.iter().map(|text| serde_json::from_str(text)).collect::<serde_json::Result<_>>()?;
    let supervisor = if instances.is_empty() { None } else { supervisor(app, before.as_ref()) };
    let newest = u64::try_from(generation).unwrap_or_default();
    let jolokia =
        instances.iter().filter_map(|spec| Some((spec.id.clone(), app.catalogue.find(spec.kind.as_str())?.jolokia(spec)?)));
    let figures = FigureWish { collectors: store::collectors(tx, host_id).await?, jolokia: jolokia.collect() };
    let mut state = DesiredState { generation: newest, supervisor, instances, figures };
    if let Some(before) = before.filter(|_| above == 0) {
        let same = DesiredState { generation: newest, ..before.clone() } == state;
        state.generation = if same { before.generation } else { newest };
    }
    let generation = i64::try_from(state.generation).unwrap_or(i64::MAX);
    store::set_desired(tx, host_id, generation, &serde_json::to_string(&state)?).await?;
    if state.generation == newest {
        engine::note_change(tx, &format!("host/{host_id}"), now_ms()).await?;
    }
    Ok(())
}

/// The supervisord that the host has, as long as we have it too: a newer one in the stock is no reason to restart everything.
fn supervisor(app: &App, before: Option<&DesiredState>) -> Option<PackageRef> {
    let at_hand = app.stock.fitting(SUPERVISOR, &[]);
    let kept = before.and_then(|before| before.supervisor.clone());
    let kept = kept.filter(|kept| at_hand.iter().any(|found| found.manifest.package.sha512 == kept.sha512));
    kept.or_else(|| at_hand.into_iter().next().map(|found| found.manifest.package))
}

/// Is this package named in a desired state?
pub(super) fn names_package(state: &DesiredState, sha512: &Sha512) -> bool {
    let of_instances = state.instances.iter().flat_map(|instance| &instance.body.packages);
    state.supervisor.iter().chain(of_instances).any(|package| package.sha512 == *sha512)
}

/// Is this secret named in a desired state?
pub(super) fn names_secret(state: &DesiredState, reference: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@:-".contains(&byte);
    let placeholder = format!("{{secret:{reference}}}");
    let mut files = state.instances.iter().flat_map(|instance| &instance.body.files);
    !reference.is_empty() && reference.bytes().all(fits) && files.any(|file| file.body.contains(&placeholder))
}
