//! Breaks the network between real nodes, each in a network namespace of its
//! own, and sets their wall clocks wrong, while the whole cluster encodes. In
//! every round: what was acknowledged is kept, one leader alone writes, a node
//! that is cut off refuses in time and by name, the others go on, all are back
//! at work soon after the healing, and films come out the same to the byte
//! (P1 to P6).
//!
//! `cargo run --release --example partition -- [--fault NAME] [--rounds N] [--seed N] [--short]`
//!
//! Faults: `isolated` (the leader, both ways), `deaf` (the leader hears nobody
//! and is heard), `mute` (the other way round), `halves` (any one node against
//! two, a client on each side), `loss` (a fifth of all packets, everywhere),
//! `clock` (a wall clock jumps an hour). Without `--fault` all of them, in
//! turn (with `--short` three). Needs root and Debian's packages iproute2, iptables, for the clock
//! faketime; what is missing is said, and skipped.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::BTreeSet,
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use experiment::{
    Settings, Verdict,
    checks::{Away, began_after, one_leader, running_at, taken_over},
    client::{Asked, EXIT_UNREACHABLE},
    conduct, figures,
    fleet::{Common, Fleet, Place},
    load::SLOTS,
    ms_between,
    network::{Cut, Network, wrong_clock_library},
    now_us, percentile,
    record::{Skew, What},
    report,
    requests::{Refusal, Requests},
    scene::{NODES, Scene},
};

/// How long a fault lasts: two leases and more, so that everything which the
/// node had has been given away.
const FAULT_MS: (u64, u64) = (6_000, 8_000);

/// Pause before each fault, once all nodes are at work. A home that was away
/// looks every two seconds for what was finished in its absence, and says
/// nothing when it has it; to take the other home away would be a second fault.
const SETTLE_MS: (u64, u64) = (2_500, 4_500);

/// How long a node that is cut off may take to know that it has no leader.
const KNOW_PATIENCE: Duration = Duration::from_secs(5);

/// How long it may then take to refuse.
const REFUSE_MS_MAX: u64 = 2_000;

/// The same where tests run beside.
const REFUSE_MS_SHORT: u64 = 4_500;

/// How long the others may take to elect one of theirs and give out work.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(15);

/// How long all may take to be back at work after the healing.
const BACK_MS_MAX: u64 = 10_000;

/// The same where tests run beside.
const BACK_MS_SHORT: u64 = 30_000;

/// How long it is waited for.
const BACK_PATIENCE: Duration = Duration::from_secs(60);

/// A share of one in five.
const LOSS: &str = "0.2";

/// How far a clock jumps, forward and back in turn.
const JUMP_S: i64 = 3_600;

fn main() -> ExitCode {
    conduct("partition", &["--fault"], |settings, folder| {
        if let Some(reason) = Network::lacking() {
            return Ok(Verdict::Skipped(reason));
        }
        let named = settings.own.get("--fault").map(String::as_str);
        if named.is_some_and(|name| Fault::ALL.iter().all(|fault| fault.name() != name)) {
            return Err(format!("no fault is called {}", named.unwrap_or_default()));
        }
        let wanted = |fault: &&Fault| match named {
            Some(name) => name == fault.name(),
            None => !settings.short || Fault::SHORT.contains(fault),
        };
        let wanted: Vec<Fault> = Fault::ALL.iter().filter(wanted).copied().collect();
        let (clock, network): (Vec<Fault>, Vec<Fault>) =
            wanted.into_iter().partition(|fault| *fault == Fault::Clock);
        let mut broken = Vec::new();
        if !network.is_empty() {
            let part = Experiment::new(settings, &folder.join("network"), None)?;
            broken.extend(part.run(&network)?);
        }
        if !clock.is_empty() {
            match wrong_clock_library() {
                Ok(library) => {
                    let part = Experiment::new(settings, &folder.join("clock"), Some(&library))?;
                    broken.extend(part.run(&clock)?);
                }
                Err(reason) if network.is_empty() => return Ok(Verdict::Skipped(reason)),
                Err(reason) => println!("clock is skipped: {reason}"),
            }
        }
        Ok(Verdict::Broken(broken))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Isolated,
    Deaf,
    Mute,
    Halves,
    Loss,
    Clock,
}

impl Fault {
    const ALL: [Fault; 6] = [
        Fault::Isolated,
        Fault::Deaf,
        Fault::Mute,
        Fault::Halves,
        Fault::Loss,
        Fault::Clock,
    ];

    /// Those of the short form, which must be done in a minute.
    const SHORT: [Fault; 3] = [Fault::Isolated, Fault::Deaf, Fault::Loss];

    fn name(self) -> &'static str {
        match self {
            Fault::Isolated => "isolated",
            Fault::Deaf => "deaf",
            Fault::Mute => "mute",
            Fault::Halves => "halves",
            Fault::Loss => "loss",
            Fault::Clock => "clock",
        }
    }

    /// How it cuts one node off, if it does.
    fn cut(self) -> Option<Cut> {
        match self {
            Fault::Isolated | Fault::Halves => Some(Cut::Both),
            Fault::Deaf => Some(Cut::Deaf),
            Fault::Mute => Some(Cut::Mute),
            Fault::Loss | Fault::Clock => None,
        }
    }
}

struct Experiment<'a> {
    settings: &'a Settings,
    // Before the network, so that the nodes end before their hosts do.
    scene: Scene,
    network: Network,
    requests: Requests,
    clocks: bool,
    back_ms: Vec<u64>,
    refused_ms: Vec<u64>,
    taken_over_ms: Vec<u64>,
    away: Vec<Away>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path, clock: Option<&str>) -> Result<Self, String> {
        let network = Network::lay(NODES.into())?;
        let place = |node: u64| Place {
            listen: Network::address(node),
            data: folder.join(format!("node-{node}")),
            wrap: Network::on_host(node),
            environment: clock.map_or_else(Vec::new, |library| wrong_clock(folder, node, library)),
        };
        let common = Common {
            slots: SLOTS,
            secret: format!("secret-{}", settings.seed),
            client_wrap: Network::among_clients(),
        };
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        for node in 1..=u64::from(NODES) {
            set_clock(folder, node, 0)?;
        }
        let places = (1..=u64::from(NODES)).map(place).collect();
        let fleet = Fleet::start(folder, places, common)?;
        Ok(Experiment {
            settings,
            requests: Requests::new(folder)?,
            scene: Scene::open(settings, folder, fleet)?,
            network,
            clocks: clock.is_some(),
            back_ms: Vec::new(),
            refused_ms: Vec::new(),
            taken_over_ms: Vec::new(),
            away: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self, faults: &[Fault]) -> Result<Vec<String>, String> {
        for number in 1..=self.settings.rounds_or(1, 20) {
            for &fault in faults {
                // What was broken before says more than where it then ended.
                if let Err(error) = self.round(number, fault) {
                    self.broken.push(error);
                    return Ok(self.broken);
                }
            }
        }
        let broken = self.requests.all_there(&self.scene.fleet)?;
        self.broken.extend(broken);
        let differ = self.scene.load.films_as_calm(&self.scene.fleet)?;
        self.broken.extend(differ);
        self.report()?;
        Ok(self.broken)
    }

    fn round(&mut self, number: u64, fault: Fault) -> Result<(), String> {
        let name = |when: &str| format!("{}-{number}-{when}", fault.name());
        self.scene.await_whole()?;
        self.scene.settle(SETTLE_MS);
        self.requests
            .must_create(&self.scene.fleet, &name("before"))?;
        let leader = self.scene.leader()?;
        let victim = match fault {
            Fault::Halves | Fault::Clock => self.scene.any_node(None),
            _ => leader,
        };

        let from_us = now_us();
        self.scene.record.update();
        let had = running_at(&self.scene.record, &[], victim, from_us);
        let lasts = self.scene.random.within(FAULT_MS.0, FAULT_MS.1);
        self.begin(number, fault, victim)?;
        // The clients' side: they know all nodes, and must find those that go on.
        let during = self.requests.begin(&self.scene.fleet, &name("during"))?;
        let mut told = String::new();
        if fault.cut().is_some() {
            told = self.refusals(victim, &name("refused"))?;
            if victim == leader {
                told += &self.takeover(victim, from_us);
            }
        }
        let left = Duration::from_millis(lasts).saturating_sub(since(from_us));
        sleep(left);
        self.end(fault, victim)?;
        let healed_us = now_us();
        if fault != Fault::Clock {
            let cut_off = if fault == Fault::Loss {
                self.scene.fleet.ids()
            } else {
                vec![victim]
            };
            self.away.extend(cut_off.into_iter().map(|node| Away {
                node,
                from_us,
                to_us: healed_us,
            }));
        }
        let back_ms = self.back(healed_us)?;
        self.back_ms.push(back_ms);
        // A client that gave up in the meantime asks again, as its user would.
        let first_try = self.requests.end(&self.scene.fleet, during)?;
        self.requests
            .must_create(&self.scene.fleet, &name("after"))?;
        println!(
            "round {number:>3}: {:<8} node {victim}{}: {told}request meanwhile {}, all at work {back_ms} ms after the healing",
            fault.name(),
            if victim == leader { " (leader)" } else { "" },
            if first_try {
                "taken"
            } else {
                "taken when asked again"
            },
        );
        self.scene.await_done(&had);
        Ok(())
    }

    fn begin(&mut self, number: u64, fault: Fault, victim: u64) -> Result<(), String> {
        match (fault.cut(), fault) {
            (Some(cut), _) => self.network.cut(victim, cut),
            (None, Fault::Clock) => self.jump(number, victim),
            (None, _) => self.network.lose(LOSS),
        }
    }

    fn end(&mut self, fault: Fault, victim: u64) -> Result<(), String> {
        if fault == Fault::Clock {
            return self.jump_back(victim);
        }
        self.network.heal()
    }

    /// Sets a node's clock wrong, an hour ahead or behind.
    fn jump(&mut self, number: u64, victim: u64) -> Result<(), String> {
        let by_s = if number.is_multiple_of(2) {
            -JUMP_S
        } else {
            JUMP_S
        };
        let from_us = now_us();
        set_clock(&self.scene.fleet.folder, victim, by_s)?;
        self.scene.record.skews.push(Skew {
            node: victim,
            from_us,
            // Until it is set right, which is sooner.
            to_us: from_us + 60_000_000,
            ahead_us: by_s * 1_000_000,
        });
        Ok(())
    }

    fn jump_back(&mut self, victim: u64) -> Result<(), String> {
        // Everything up to here is read with the clock known to be wrong.
        self.scene.record.update();
        set_clock(&self.scene.fleet.folder, victim, 0)?;
        if let Some(skew) = self.scene.record.skews.last_mut() {
            skew.to_us = now_us();
        }
        Ok(())
    }

    /// A client on the side of the node that is cut off: when the node knows of
    /// no leader, it refuses a write and a linearizable read, soon and by name.
    fn refusals(&mut self, victim: u64, request: &str) -> Result<String, String> {
        let fleet = &self.scene.fleet;
        let begun = Instant::now();
        let leaderless = || {
            let output = fleet.cli_at(victim, &["cluster", "leader"]).output();
            output.is_ok_and(|output| output.status.code() == Some(EXIT_UNREACHABLE))
        };
        while !leaderless() {
            if begun.elapsed() > KNOW_PATIENCE {
                self.broken.push(format!(
                    "{request}: node {victim} still names a leader after {} s",
                    KNOW_PATIENCE.as_secs()
                ));
                return Ok(String::new());
            }
        }
        let known_ms = begun.elapsed().as_millis();
        let write = self.requests.refused(fleet, victim, request)?;
        let read = Refusal::of(fleet.cli_at(victim, &["job", "list", "--all"]))?;
        let limit_ms = if self.settings.short {
            REFUSE_MS_SHORT
        } else {
            REFUSE_MS_MAX
        };
        for (what, refusal) in [("write", &write), ("read", &read)] {
            if let Some(problem) = refusal.problem(limit_ms) {
                self.broken
                    .push(format!("{request}: a {what} at node {victim} {problem}"));
            }
            self.refused_ms.push(refusal.took_ms);
        }
        Ok(format!(
            "known after {known_ms} ms, write refused in {} ms, read in {} ms, ",
            write.took_ms, read.took_ms
        ))
    }

    /// Waits until the others have elected one of theirs who gives out work.
    fn takeover(&mut self, victim: u64, from_us: u64) -> String {
        let taken = self.scene.await_record(TAKEOVER_PATIENCE, |record| {
            taken_over(record, from_us).filter(|(.., leader)| *leader != victim)
        });
        match taken {
            Some((_, assigned_us, leader)) => {
                let took_ms = ms_between(from_us, assigned_us);
                self.taken_over_ms.push(took_ms);
                format!("node {leader} gives out work after {took_ms} ms, ")
            }
            None => {
                self.broken.push(format!(
                    "nobody took over from node {victim} while it was cut off"
                ));
                String::new()
            }
        }
    }

    /// Waits until every node has begun something new since the healing and is
    /// heard by the leader; how long the former took.
    fn back(&mut self, healed_us: u64) -> Result<u64, String> {
        let ids = self.scene.fleet.ids();
        let began = self.scene.await_record(BACK_PATIENCE, |record| {
            let began = ids.iter().map(|&id| began_after(record, id, healed_us));
            began.collect::<Option<Vec<u64>>>()
        });
        let began = began.ok_or(format!(
            "not every node was back at work {} s after the healing",
            BACK_PATIENCE.as_secs()
        ))?;
        self.scene.fleet.await_nodes(ids.len(), BACK_PATIENCE)?;
        let last_us = began.into_iter().max().unwrap_or(healed_us);
        Ok(ms_between(healed_us, last_us))
    }

    fn report(&mut self) -> Result<(), String> {
        let scene = &mut self.scene;
        scene.record.update();
        let record = scene.record.clone().since(scene.from_us);
        let tries = record.tries(&[], now_us());
        self.broken.extend(report::tell_work(&tries, &self.away));
        self.broken.extend(one_leader(&scene.record));
        let cut_off: BTreeSet<u64> = self.away.iter().map(|away| away.node).collect();
        self.broken.extend(scene.failures_but_on(&cut_off)?);
        let elections = record.events.iter().filter(|event| {
            event.at_us >= scene.from_us && matches!(event.what, What::Leads { .. })
        });
        println!("{} elections", elections.count());
        if !self.clocks {
            println!(
                "cut to first assignment by another  {}",
                figures(&mut self.taken_over_ms)
            );
            println!(
                "refusals on the side cut off        {}",
                figures(&mut self.refused_ms)
            );
        }
        println!(
            "healing to all nodes at new work    {}",
            figures(&mut self.back_ms)
        );
        let limit_ms = if self.settings.short {
            BACK_MS_SHORT
        } else {
            BACK_MS_MAX
        };
        let max_ms = percentile(&self.back_ms, 100);
        if max_ms > limit_ms {
            self.broken
                .push(format!("back at work after {max_ms} ms of {limit_ms}"));
        }
        Ok(())
    }
}

fn since(at_us: u64) -> Duration {
    Duration::from_micros(now_us().saturating_sub(at_us))
}

/// The environment of a node whose wall clock can be set wrong while it runs.
/// The monotonic clock stays as it is.
fn wrong_clock(folder: &Path, node: u64, library: &str) -> Vec<(String, String)> {
    let file = clock_file(folder, node).display().to_string();
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec()
}

fn clock_file(folder: &Path, node: u64) -> std::path::PathBuf {
    folder.join(format!("clock-{node}"))
}

/// Sets a node's wall clock so many seconds ahead. In one step: a half-written
/// file would be read, too.
fn set_clock(folder: &Path, node: u64, ahead_s: i64) -> Result<(), String> {
    let (file, new) = (clock_file(folder, node), folder.join("clock-new"));
    std::fs::write(&new, format!("{ahead_s:+}\n"))
        .and_then(|()| std::fs::rename(&new, &file))
        .map_err(|error| format!("{}: {error}", file.display()))
}
