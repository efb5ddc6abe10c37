//! The part of a session that keeps the host's certificate alive: renewed in two phases, revived after its end, exchanged when a
//! join brought another one.

use tokio::time::Instant;
use zms_core::host::RenewRequest;

use super::{Session, connect};
use crate::portal::pki::{self, Identity};
use crate::portal::renew::{Due, due};
use crate::portal::{Membership, chance, shown};

impl Session {
    /// The portal has taken the certificate it was shown, so the old one can go.
    pub(super) fn confirm(&mut self) {
        let Some(candidate) = self.held.candidate.take() else { return };
        match self.pki.promote() {
            Ok(()) => tracing::info!(until = shown(candidate.until_ms), "the certificate is renewed"),
            Err(error) => tracing::warn!(%error, "cannot put the new certificate in place"),
        }
        self.held.current = candidate;
    }

    /// Asks for another certificate if it is time.
    pub(super) async fn renew(&mut self) {
        if self.held.candidate.is_some() || Instant::now() < self.renew_not_before {
            return;
        }
        let due = due(&self.held.current, self.chance, self.clock());
        let renewed = match due {
            Due::Nothing | Due::Join => return,
            Due::Renew => self.renew_with_new_key().await,
            Due::Revive => self.renew_with_same_key().await,
        };
        if let Err(error) = renewed {
            let again = if due == Due::Renew { self.waits.renew_again } else { self.waits.after_failures(self.failures + 1) };
            self.renew_not_before = Instant::now() + again;
            let problem = format!("{error:#}");
            if self.renew_problem != problem {
                let until = shown(self.held.current.until_ms);
                tracing::warn!(problem, until, "cannot renew the certificate; it is tried again");
                self.renew_problem = problem;
            }
        }
    }

    async fn renew_with_new_key(&mut self) -> anyhow::Result<()> {
        let csr = pki::signing_request(&self.pki.next_key()?)?;
        let reply = self.link.now().renew(&RenewRequest { csr }).await?;
        let candidate = self.pki.propose(reply.certificate)?;
        if let Err(error) = self.show(&candidate) {
            self.pki.withdraw()?;
            return Err(error);
        }
        self.held.candidate = Some(candidate);
        Ok(())
    }

    async fn renew_with_same_key(&mut self) -> anyhow::Result<()> {
        let csr = pki::signing_request(&self.held.current.key)?;
        let reply = self.link.now().renew(&RenewRequest { csr }).await?;
        self.held.current = self.pki.replace_certificate(reply.certificate)?;
        tracing::info!(until = shown(self.held.current.until_ms), "the expired certificate is renewed");
        self.show(&self.held.current.clone())
    }

    /// Calls show this identity from now on.
    pub(super) fn show(&mut self, identity: &Identity) -> anyhow::Result<()> {
        self.link.replace(connect(&self.layout, &self.membership, identity, self.waits)?);
        self.chance = chance();
        // Something to send makes the portal answer at once, and an answer shows that the certificate is taken.
        self.outbox.forget();
        Ok(())
    }

    /// A join may have put another membership or certificate in place while this one failed.
    pub(super) fn reread(&mut self) {
        let found = Membership::required(&self.layout).and_then(|membership| Ok((membership, self.pki.load()?)));
        let Ok((membership, held)) = found else { return };
        if (&membership, &held) != (&self.membership, &self.held) {
            tracing::info!(portal = membership.agent_url, "another certificate is there");
            (self.membership, self.held) = (membership, held);
            if let Err(error) = self.show(&self.held.best().clone()) {
                tracing::warn!(error = format!("{error:#}"), "cannot use the certificate");
            }
        }
    }
}
