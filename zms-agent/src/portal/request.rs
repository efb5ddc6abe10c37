//! What goes into a request: everything that the portal has not acknowledged. Pure.
//!
//! A request may be given up because there is news, so only an answer counts as an acknowledgement.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use ulid::Ulid;
use zms_core::host::{Answer, HostFacts, HostReport, Question, SyncRequest};

/// Questions that are worked on at the same time; more are dropped, the portal asks again.
const MOST_QUESTIONS: usize = 16;

/// What one run of the agent has told the portal.
#[derive(Debug)]
pub struct Outbox {
    run: String,
    n: u64,
    report: Option<HostReport>,
    facts: Option<HostFacts>,
    answers: Vec<Answer>,
    asked: BTreeSet<String>,
}

impl Default for Outbox {
    fn default() -> Self {
        let run = Ulid::new().to_string();
        Self { run, n: 0, report: None, facts: None, answers: Vec::new(), asked: BTreeSet::new() }
    }
}

impl Outbox {
    /// The next request.
    pub fn request(&mut self, have: u64, report: Option<&HostReport>, facts: &HostFacts, clock_ms: i64) -> SyncRequest {
        self.n += 1;
        SyncRequest {
            run: self.run.clone(),
            n: self.n,
            have,
            clock_ms: u64::try_from(clock_ms).unwrap_or_default(),
            report: report.filter(|report| self.report.as_ref() != Some(report)).cloned(),
            facts: self.facts.as_ref().is_none_or(|told| differ(told, facts)).then(|| facts.clone()),
            answers: self.answers.clone(),
        }
    }

    /// Would the next request carry something?
    pub fn has_news(&self, report: Option<&HostReport>, facts: &HostFacts) -> bool {
        let report = report.is_some_and(|report| self.report.as_ref() != Some(report));
        report || !self.answers.is_empty() || self.facts.as_ref().is_none_or(|told| differ(told, facts))
    }

    /// The portal has answered this request.
    pub fn acknowledged(&mut self, request: SyncRequest) {
        self.report = request.report.or(self.report.take());
        self.facts = request.facts.or(self.facts.take());
        self.answers.retain(|answer| !request.answers.iter().any(|sent| sent.id == answer.id));
    }

    /// Send everything again.
    pub fn forget(&mut self) {
        self.report = None;
        self.facts = None;
    }

    /// Reads a question that is to be worked on; one that cannot be read is answered at once.
    pub fn question(&mut self, raw: &RawValue) -> Option<Question> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let Named { id } = serde_json::from_str(raw.get()).ok()?;
        if self.asked.contains(&id) || self.answers.iter().any(|answer| answer.id == id) || self.asked.len() >= MOST_QUESTIONS {
            return None;
        }
        match serde_json::from_str::<Question>(raw.get()) {
            Ok(question) => {
                self.asked.insert(id);
                Some(question)
            }
            Err(error) => {
                let found = Err(format!("zms-agent {} does not understand the question: {error}", env!("CARGO_PKG_VERSION")));
                self.answers.push(Answer { id, found });
                None
            }
        }
    }

    /// An answer to send.
    pub fn answer(&mut self, answer: Answer) {
        self.asked.remove(&answer.id);
        self.answers.push(answer);
    }

    /// Is there a question without an answer?
    pub fn works(&self) -> bool {
        !self.asked.is_empty()
    }
}

/// Does it carry nothing, so that the portal holds it?
pub fn is_empty(request: &SyncRequest) -> bool {
    request.report.is_none() && request.facts.is_none() && request.answers.is_empty()
}

/// Free space changes all the time; a quarter of a GiB is worth telling.
fn differ(told: &HostFacts, found: &HostFacts) -> bool {
    let moved = told.disk_free_mib.abs_diff(found.disk_free_mib) >= 256;
    moved || HostFacts { disk_free_mib: 0, ..told.clone() } != HostFacts { disk_free_mib: 0, ..found.clone() }
}

#[cfg(test)]
mod tests {
    use zms_core::host::SupervisorReport;

    use super::*;

    fn report(generation: u64) -> HostReport {
        let supervisor = SupervisorReport::NotNeeded;
        HostReport { agent_version: "1".into(), generation, supervisor, instances: vec![], strays: vec![] }
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_and_nothing_else() {
        let mut outbox = Outbox::default();
        let mut facts = HostFacts { hostname: "h".into(), disk_free_mib: 1000, ..HostFacts::default() };
        let lost = outbox.request(0, Some(&report(1)), &facts, 5);
        let first = outbox.request(0, Some(&report(1)), &facts, 6);
        assert_eq!((lost.report.is_some(), first.report.is_some(), first.facts.is_some()), (true, true, true));
        assert_eq!((first.n, first.run.as_str()), (2, lost.run.as_str()));
        outbox.acknowledged(first);

        facts.disk_free_mib = 990;
        assert!(!outbox.has_news(Some(&report(1)), &facts));
        let quiet = outbox.request(1, Some(&report(1)), &facts, 7);
        assert!(is_empty(&quiet) && quiet.have == 1, "{quiet:?}");
        outbox.acknowledged(quiet);
        facts.disk_free_mib = 500;
        assert!(outbox.has_news(Some(&report(1)), &facts));
        let news = outbox.request(1, Some(&report(2)), &facts, 8);
        assert_eq!((news.report.as_ref().map(|r| r.generation), news.facts.is_some()), (Some(2), true));

        outbox.acknowledged(news);
        outbox.forget();
        let all = outbox.request(1, Some(&report(2)), &facts, 9);
        assert!(all.report.is_some() && all.facts.is_some());
    }

    #[test]
    fn a_question_is_worked_on_once_and_an_answer_stays_until_it_arrived() {
        let mut outbox = Outbox::default();
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let question = raw(r#"{"id":"q1","ask":{"what":"log","instance":"kafka-1"}}"#);
        assert!(outbox.question(&question).is_some());
        assert!(outbox.question(&question).is_none() && outbox.works());
        outbox.answer(Answer { id: "q1".into(), found: Err("no".into()) });
        assert!(!outbox.works());
        let lost = outbox.request(0, None, &HostFacts::default(), 0);
        let sent = outbox.request(0, None, &HostFacts::default(), 0);
        assert_eq!((lost.answers.len(), sent.answers.len()), (1, 1));
        outbox.acknowledged(sent);
        assert!(outbox.request(0, None, &HostFacts::default(), 0).answers.is_empty());
    }

    #[test]
    fn a_question_of_a_newer_portal_or_about_a_path_is_answered_with_a_sentence() {
        let mut outbox = Outbox::default();
        for (id, ask) in [
            ("a", r#"{"what":"run","command":"rm -rf /"}"#),
            ("b", r#"{"what":"log","instance":"../../etc/passwd"}"#),
            ("c", r#"{"what":"log","instance":"/etc/passwd"}"#),
        ] {
            let raw = RawValue::from_string(format!(r#"{{"id":"{id}","ask":{ask}}}"#)).unwrap();
            assert!(outbox.question(&raw).is_none(), "{ask}");
        }
        let answers = outbox.request(0, None, &HostFacts::default(), 0).answers;
        let said: Vec<_> = answers.iter().map(|answer| answer.found.clone().unwrap_err()).collect();
        assert!(said[0].contains("run") && said[1].contains("instance id") && said[2].contains("instance id"), "{said:?}");
        assert!(!outbox.works());
    }
}
