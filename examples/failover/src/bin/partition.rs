//! Breaks the network between real nodes, each in a network namespace of its
//! own, and sets their wall clocks wrong, while the whole cluster encodes. In
//! every round: what was acknowledged is kept, one leader alone writes, a node
//! that is cut off refuses in time and with a reason, the others go on, all are
//! back at work soon after the healing, and films come out the same to the byte
//! (P1 to P6).
//!
//! `cargo run --release -p reelraft-failover --bin partition -- [--fault NAME] [--rounds N] [--seed N] [--short]`
//!
//! Faults: `isolated` (the leader, both ways), `deaf` (the leader hears nobody
//! and is heard), `mute` (the reverse), `halves` (any one node against two, a
//! client on each side), `loss` (a fifth of all packets, everywhere), `clock` (a
//! wall clock jumps an hour). Without `--fault` all of them in turn, with
//! `--short` three. Needs root and Debian's packages iproute2, iptables, and
//! for the clock faketime; what is missing is named, and skipped.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::{CliClient, EXIT_UNREACHABLE},
    clock::{ms_between, now_us},
    events::{Absence, ClockSkew, EventKind, Kill},
    experiment::{Settings, Verdict, run_experiment},
    faketime,
    figures::{figures, percentile},
    invariants::{attempts_running_at, first_start_after, leadership_violations},
    network::{Cut, Network},
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster},
    report,
    requests::{Refusal, Requests},
    takeover::Takeover,
    three_nodes::{NODES, ThreeNodes},
    workload::SLOTS,
};

/// How long a fault lasts: two leases and more, so that everything that the
/// node had has been assigned elsewhere.
const FAULT_MS: (u64, u64) = (6_000, 8_000);

/// Pause before each fault, once all nodes are at work. A home that was away
/// looks every two seconds for what was finished in its absence, and does not
/// log when it has it; taking the other home away would be a second fault.
const SETTLE_MS: (u64, u64) = (2_500, 4_500);

/// How long a node that is cut off may take to know that it has no leader.
const KNOW_PATIENCE: Duration = Duration::from_secs(5);

/// How long it may then take to refuse, and the same in the short form, which
/// runs beside other tests.
const REFUSE_MS_MAX: u64 = 2_000;
const REFUSE_MS_SHORT: u64 = 4_500;

/// How long the others may take to elect one of theirs and assign work.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(15);

/// How long all may take to be back at work after the healing, and the same in
/// the short form.
const BACK_MS_MAX: u64 = 10_000;
const BACK_MS_SHORT: u64 = 30_000;

/// How long it is waited for.
const BACK_PATIENCE: Duration = Duration::from_secs(60);

/// A share of one in five.
const LOSS: &str = "0.2";

/// How far a clock jumps, forward and back in turn.
const JUMP_S: i64 = 3_600;

fn main() -> ExitCode {
    run_experiment("partition", &["--fault"], |settings, folder| {
        if let Some(reason) = Network::missing_prerequisite() {
            return Ok(Verdict::Skipped(reason));
        }
        let only = settings.extra.get("--fault").map(String::as_str);
        if only.is_some_and(|name| Fault::ALL.iter().all(|fault| fault.name() != name)) {
            return Err(format!("no fault is called {}", only.unwrap_or_default()));
        }
        let is_wanted = |fault: &&Fault| match only {
            Some(name) => name == fault.name(),
            None => !settings.short || Fault::SHORT.contains(fault),
        };
        let wanted: Vec<Fault> = Fault::ALL.iter().filter(is_wanted).copied().collect();
        let (clock, network): (Vec<Fault>, Vec<Fault>) =
            wanted.into_iter().partition(|fault| *fault == Fault::Clock);
        let mut broken = Vec::new();
        if !network.is_empty() {
            let part = Experiment::new(settings, &folder.join("network"), None)?;
            broken.extend(part.run(&network)?);
        }
        if !clock.is_empty() {
            match faketime::library() {
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
    folder: PathBuf,
    // Before the network, so that the nodes end before their hosts do.
    nodes: ThreeNodes,
    network: Network,
    requests: Requests,
    with_clocks: bool,
    back_ms: Vec<u64>,
    refused_ms: Vec<u64>,
    taken_over_ms: Vec<u64>,
    absences: Vec<Absence>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path, faketime: Option<&str>) -> Result<Self, String> {
        let network = Network::create(NODES.into())?;
        let node = |id: u64| NodeSpec {
            listen: Network::address(id),
            data: folder.join(format!("node-{id}")),
            command_prefix: Network::host_prefix(id),
            environment: faketime.map_or_else(Vec::new, |library| {
                faketime::environment(folder, id, library)
            }),
        };
        let spec = ClusterSpec {
            slots: SLOTS,
            secret: format!("secret-of-the-cluster-{}", settings.seed),
            client_prefix: Network::clients_prefix(),
            node_args: Vec::new(),
        };
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        for id in 1..=u64::from(NODES) {
            faketime::set_clock(folder, id, 0)?;
        }
        let nodes = (1..=u64::from(NODES)).map(node).collect();
        let cluster = ProcessCluster::start(folder, nodes, spec)?;
        Ok(Experiment {
            settings,
            folder: folder.to_path_buf(),
            requests: Requests::new(folder)?,
            nodes: ThreeNodes::new(settings, folder, cluster)?,
            network,
            with_clocks: faketime.is_some(),
            back_ms: Vec::new(),
            refused_ms: Vec::new(),
            taken_over_ms: Vec::new(),
            absences: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self, faults: &[Fault]) -> Result<Vec<String>, String> {
        for number in 1..=self.settings.rounds_or(1, 20) {
            for &fault in faults {
                // What was broken before matters more than how it then ended.
                if let Err(error) = self.round(number, fault) {
                    self.broken.push(error);
                    return Ok(self.broken);
                }
            }
        }
        let broken = self.requests.check_all(&self.nodes.cluster)?;
        self.broken.extend(broken);
        let different = self.nodes.workload.compare_films(&self.nodes.cluster)?;
        self.broken.extend(different);
        self.report()?;
        Ok(self.broken)
    }

    fn round(&mut self, number: u64, fault: Fault) -> Result<(), String> {
        let request = |when: &str| format!("{}-{number}-{when}", fault.name());
        self.nodes.wait_until_all_work()?;
        self.nodes.sleep_within(SETTLE_MS);
        self.requests
            .submit(&self.nodes.cluster, &request("before"))?;
        let leader = self.nodes.leader()?;
        let victim = match fault {
            Fault::Halves | Fault::Clock => self.nodes.any_node(None),
            _ => leader,
        };

        let from_us = now_us();
        self.nodes.log.update();
        let had = attempts_running_at(&self.nodes.log, &[], victim, from_us);
        let lasts_ms = self.nodes.random.within(FAULT_MS.0, FAULT_MS.1);
        self.begin(number, fault, victim)?;
        // The clients' side: they know all nodes, and must find those that go on.
        let during = self
            .requests
            .start(&self.nodes.cluster, &request("during"))?;
        let mut summary = String::new();
        if fault.cut().is_some() {
            summary = self.check_refusals(victim, &request("refused"))?;
            if victim == leader {
                summary += &self.wait_for_takeover(victim, from_us);
            }
        }
        let gone_ms = ms_between(from_us, now_us());
        sleep(Duration::from_millis(lasts_ms.saturating_sub(gone_ms)));
        self.end(fault, victim)?;
        let healed_us = now_us();
        self.note_absences(fault, victim, from_us, healed_us);
        let back_ms = self.wait_until_back(healed_us)?;
        self.back_ms.push(back_ms);
        // A client that gave up meanwhile asks again, as its user would.
        let first_try = self.requests.finish(&self.nodes.cluster, during)?;
        self.requests
            .submit(&self.nodes.cluster, &request("after"))?;
        println!(
            "round {number:>3}: {:<8} node {victim}{}: {summary}request meanwhile {}, all at work {back_ms} ms after the healing",
            fault.name(),
            if victim == leader { " (leader)" } else { "" },
            if first_try {
                "taken"
            } else {
                "taken when asked again"
            },
        );
        self.nodes.wait_until_done(&had);
        Ok(())
    }

    fn begin(&mut self, number: u64, fault: Fault, victim: u64) -> Result<(), String> {
        match (fault.cut(), fault) {
            (Some(cut), _) => self.network.cut(victim, cut),
            (None, Fault::Clock) => self.jump(number, victim),
            (None, _) => self.network.drop_packets(LOSS),
        }
    }

    fn end(&mut self, fault: Fault, victim: u64) -> Result<(), String> {
        if fault == Fault::Clock {
            return self.jump_back(victim);
        }
        self.network.heal()
    }

    /// Remembers which nodes could not be heard during a fault.
    fn note_absences(&mut self, fault: Fault, victim: u64, from_us: u64, to_us: u64) {
        let cut_off = match fault {
            Fault::Clock => Vec::new(),
            Fault::Loss => self.nodes.cluster.ids(),
            _ => vec![victim],
        };
        self.absences
            .extend(cut_off.into_iter().map(|node| Absence {
                node,
                from_us,
                to_us,
            }));
    }

    /// Sets a node's clock wrong, an hour ahead or behind.
    fn jump(&mut self, number: u64, victim: u64) -> Result<(), String> {
        let by_s = if number.is_multiple_of(2) {
            -JUMP_S
        } else {
            JUMP_S
        };
        let from_us = now_us();
        faketime::set_clock(&self.folder, victim, by_s)?;
        self.nodes.log.skews.push(ClockSkew {
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
        self.nodes.log.update();
        faketime::set_clock(&self.folder, victim, 0)?;
        if let Some(skew) = self.nodes.log.skews.last_mut() {
            skew.to_us = now_us();
        }
        Ok(())
    }

    /// A client on the side of the node that is cut off. When the node knows of
    /// no leader, it must refuse a write and a linearizable read, soon and with
    /// a reason. Returns how long that took, in words.
    fn check_refusals(&mut self, victim: u64, request: &str) -> Result<String, String> {
        let cluster = &self.nodes.cluster;
        let started = Instant::now();
        let is_leaderless = || {
            let output = cluster.cli_at(victim, &["cluster", "leader"]).output();
            output.is_ok_and(|output| output.status.code() == Some(EXIT_UNREACHABLE))
        };
        while !is_leaderless() {
            if started.elapsed() > KNOW_PATIENCE {
                self.broken.push(format!(
                    "{request}: node {victim} still names a leader after {} s",
                    KNOW_PATIENCE.as_secs()
                ));
                return Ok(String::new());
            }
        }
        let known_ms = started.elapsed().as_millis();
        let write = self.requests.submit_in_vain(cluster, victim, request)?;
        let read = Refusal::of(cluster.cli_at(victim, &["job", "list", "--all"]))?;
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

    /// Waits until the others have elected one of theirs and it assigns work.
    /// Returns who it was, in words.
    fn wait_for_takeover(&mut self, victim: u64, from_us: u64) -> String {
        let fault = Kill {
            at_us: from_us,
            node: victim,
        };
        let takeover = self.nodes.wait_for_events(TAKEOVER_PATIENCE, |log| {
            Takeover::find(log, fault).filter(|takeover| takeover.leader != victim)
        });
        match takeover {
            Some(takeover) => {
                let took_ms = ms_between(from_us, takeover.assigned_us);
                self.taken_over_ms.push(took_ms);
                let leader = takeover.leader;
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
    fn wait_until_back(&mut self, healed_us: u64) -> Result<u64, String> {
        let ids = self.nodes.cluster.ids();
        let started = self.nodes.wait_for_events(BACK_PATIENCE, |log| {
            let started = ids.iter().map(|&id| first_start_after(log, id, healed_us));
            started.collect::<Option<Vec<u64>>>()
        });
        let started = started.ok_or(format!(
            "not every node was back at work {} s after the healing",
            BACK_PATIENCE.as_secs()
        ))?;
        self.nodes
            .cluster
            .wait_for_nodes(ids.len(), BACK_PATIENCE)?;
        let last_us = started.into_iter().max().unwrap_or(healed_us);
        Ok(ms_between(healed_us, last_us))
    }

    fn report(&mut self) -> Result<(), String> {
        let nodes = &mut self.nodes;
        nodes.log.update();
        let log = nodes.log.clone().starting_at(nodes.from_us);
        let attempts = log.attempts(&[], now_us());
        let restarted = report::print_attempts(&attempts, &self.absences);
        self.broken.extend(restarted);
        self.broken.extend(leadership_violations(&nodes.log));
        let cut_off: BTreeSet<u64> = self.absences.iter().map(|absence| absence.node).collect();
        self.broken.extend(nodes.other_failures(&cut_off)?);
        let elections = log.after(nodes.from_us).iter();
        let elections =
            elections.filter(|event| matches!(event.kind, EventKind::BecameLeader { .. }));
        println!("{} elections", elections.count());
        if !self.with_clocks {
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
