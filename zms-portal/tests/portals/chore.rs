//! A machine whose effects change something that counts, and a portal that knows it.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zms_portal::config::Config;
use zms_portal::engine::{EffectContext, Machine, Next, Outcome, Perform, Refused, Settings, Status};
use zms_portal::serve;

/// Two effects side by side, then a third.
pub struct Chore;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum State {
    Sides { left: usize },
    Last,
    Finished,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    pub n: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub n: usize,
    pub target: String,
}

impl Machine for Chore {
    const KIND: &'static str = "chore";
    type State = State;
    type Command = Done;
    type Effect = Work;

    fn step(state: &State, done: &Done) -> Result<Next<State, Work>, Refused> {
        let next = |state, effects| Ok(Next { state, effects });
        match (state, done.n) {
            (State::Sides { left: 2 }, 1 | 2) => next(State::Sides { left: 1 }, vec![]),
            (State::Sides { .. }, 1 | 2) => next(State::Last, vec![Work { n: 3, target: "last".to_owned() }]),
            (State::Last, 3) => next(State::Finished, vec![]),
            _ => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Sides { .. } | State::Last => Status::Running,
            State::Finished => Status::Done,
        }
    }

    fn effect_name(_: &Work) -> &'static str {
        "work"
    }

    fn target(work: &Work) -> String {
        work.target.clone()
    }
}

/// Asks the resource of the test.
struct Hands {
    port: u16,
}

impl Perform<Chore> for Hands {
    async fn perform(&self, context: &EffectContext, work: &Work) -> Outcome<Done> {
        let asked = tokio::time::timeout(Duration::from_secs(5), self.ask(&context.flow_id, work.n)).await;
        match asked {
            Ok(Ok(())) => Outcome::Done(Done { n: work.n }),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("no answer".to_owned()),
        }
    }
}

impl Hands {
    async fn ask(&self, flow: &str, n: usize) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{} {flow} {n}\n", std::env::var("ZMS_TEST_PORTAL").unwrap()).as_bytes()).await?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).await.map(drop)
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// A configuration made of the environment alone.
pub fn config() -> Config {
    Arguments::parse_from(["zms-portal"]).config
}

/// As `zms-portal run` does, with one machine more, and leases that end soon after a kill.
pub async fn serve_as_portal() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    tracing_subscriber::fmt().with_env_filter("debug,sqlx=warn").with_writer(std::io::stderr).with_ansi(false).init();
    let waits = Settings { lease: Duration::from_secs(2), in_flight: 16, ..Settings::default() };
    let app = serve::open_with(config(), waits).await.unwrap();
    let port = std::env::var("ZMS_TEST_RESOURCE").unwrap().parse().unwrap();
    app.engine.register::<Chore>(Arc::new(Hands { port }));
    // The test may be killed before it could end its portals.
    let parent = std::os::unix::process::parent_id();
    tokio::spawn(async move {
        while std::os::unix::process::parent_id() == parent {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::process::exit(1);
    });
    serve::run_app(app).await.unwrap();
}
