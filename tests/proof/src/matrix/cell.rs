//! One cell of the matrix, its name, and what the contract says of it. Shares no code with the client.

use super::{
    axes::{Form, Kind, Local, Phase, Rights},
    primary::{self, Primary},
    probe::{self, Probe},
};

/// One run: what the question meets, what the probe meets, what the caller may do, who could stand in, what is asked for.
pub(crate) struct Cell<'a> {
    /// What the question meets.
    pub(crate) primary: &'a Primary,
    /// What the probe meets, if there is one.
    pub(crate) probe: &'a Probe,
    /// What the caller may do.
    pub(crate) rights: Rights,
    /// Who could stand in.
    pub(crate) local: Local,
    /// What is asked for.
    pub(crate) form: Form,
    /// The connection is secured.
    pub(crate) secured: bool,
}

/// Who has answered in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody.
    Nobody,
    /// The central server.
    Central,
    /// The local provider.
    Local,
}

/// What has to come of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The exit codes that are right.
    pub(crate) exits: &'static [i32],
    /// Who answers.
    pub(crate) who: Who,
    /// The central server's words that are written, whole or cut.
    pub(crate) words: String,
    /// How often permission is asked for.
    pub(crate) probes: usize,
    /// A line of stderr says so.
    pub(crate) says: &'static str,
}

impl Cell<'_> {
    /// The cases of the catalogue that a run of it is one of.
    pub(crate) fn cases(&self) -> Vec<&'static str> {
        let mut cases = self.primary_cases();
        if self.reaches_probe() {
            cases.extend(self.probe_cases());
        }
        match self.local {
            Local::TwoClaims => cases.push("P21"),
            Local::BrokenFile => cases.push("C04"),
            Local::Nobody | Local::Openai | Local::ManagedCold | Local::ManagedWarm => {}
        }
        cases
    }

    fn primary_cases(&self) -> Vec<&'static str> {
        let expected = self.expected();
        match (self.primary.phase, self.primary.kind) {
            _ if self.rights == Rights::ViewOnly && matches!(self.primary.way, primary::Way::Behind(_)) => {
                vec!["P02"]
            }
            (Phase::Connect, Kind::Refuse) if expected.who == Who::Local => vec!["P01"],
            (Phase::Connect, _) => vec!["N03"],
            (Phase::Tls, _) => vec!["N05"],
            (Phase::Head, Kind::Redirect) => vec!["P11"],
            (Phase::Head, Kind::Html) => vec!["S09"],
            (Phase::Head, Kind::Status) if self.primary.which.starts_with("429") => vec!["P05"],
            (Phase::Head, Kind::Status) if self.primary.which.starts_with("503") => vec!["P03"],
            (Phase::Head, Kind::Status) if self.primary.which.starts_with('4') => vec!["P04"],
            (Phase::Head, Kind::Reset | Kind::Cut) => vec!["P19"],
            (Phase::BeforeContent, Kind::Reset) => vec!["S04"],
            (Phase::BeforeContent | Phase::MidContent, Kind::Status) => vec!["S05"],
            (Phase::BeforeContent, Kind::Cut) => vec!["S03"],
            (Phase::MidContent, Kind::Reset | Kind::Cut | Kind::Hang) => vec!["S01"],
            (Phase::End, Kind::Cut) => vec!["S02"],
            _ => Vec::new(),
        }
    }

    fn probe_cases(&self) -> Vec<&'static str> {
        match (self.probe.phase, self.probe.kind) {
            _ if self.rights == Rights::RevokedDuringStart => vec!["P18"],
            (Phase::Nowhere, _) if self.rights != Rights::Allowed => vec!["P07"],
            (Phase::Head, Kind::Redirect) => vec!["P10"],
            (Phase::Head, Kind::Html) => vec!["P09"],
            (Phase::Head, Kind::Status)
                if ["405", "501"].iter().any(|it| self.probe.which.starts_with(it)) =>
            {
                vec!["P12", "P13"]
            }
            (Phase::Head, Kind::Status) => vec!["P12"],
            (Phase::Head, Kind::Drip | Kind::Hang) => vec!["P17"],
            (Phase::Head, Kind::Forged) => match self.probe.which.as_str() {
                "older-nonce" | "no-nonce" => vec!["P15"],
                "another-llm" => vec!["P16"],
                "second-answer" | "body-after-yes" => vec!["P14"],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The name by which a run can be repeated.
    pub(crate) fn name(&self) -> String {
        let scheme = if self.secured { "https" } else { "http" };
        let (primary, probe) = (self.primary.name(), self.probe.name());
        format!("{primary} | {probe} | {} | {} | {} | {scheme}", self.rights, self.local, self.form)
    }

    /// It can be: nothing in it excludes another.
    pub(crate) fn is_possible(&self) -> bool {
        let secured = self.secured || !(self.primary.secured || self.probe.secured);
        let form = self.primary.only.is_none_or(|only| only == self.form);
        // A port that is closed for the question is not open again for the probe.
        let listens = !self.is_closed() || self.probe.effect == probe::Effect::Real;
        // Only an engine that has to be started gives time to revoke during the start, and the contract only asks again.
        let start = self.rights != Rights::RevokedDuringStart
            || (self.local == Local::ManagedCold
                && self.probe.effect == probe::Effect::Real
                && !self.is_closed()
                && self.reaches_probe());
        // What a server may say that was never seen to send a decision is the contract's, and needs no right.
        let bare = self.probe.effect != probe::Effect::Bare
            || self.knows_decisions()
            || self.rights == Rights::Allowed;
        secured && form && listens && start && bare && (self.reaches_probe() || self.probe.is_plain())
    }

    /// The server cannot be connected to, for the question or for anything else.
    fn is_closed(&self) -> bool {
        matches!(self.primary.way, primary::Way::Refused | primary::Way::Swallowed)
    }

    /// Somebody has to be asked for permission.
    pub(crate) fn reaches_probe(&self) -> bool {
        self.local.can_answer() && self.effect() == primary::Effect::Outage
    }

    /// The server itself has answered the question, and said what it had decided.
    fn knows_decisions(&self) -> bool {
        matches!(self.primary.way, primary::Way::Behind(_))
    }

    /// What the question comes to under these rights: what passes the real server is refused by it.
    fn effect(&self) -> primary::Effect {
        if let primary::Way::Behind(_) = self.primary.way {
            match self.rights {
                Rights::TokenExpired => return primary::Effect::Final(4),
                Rights::ViewOnly | Rights::RevokedBefore | Rights::LlmDisabled => {
                    return primary::Effect::Final(5);
                }
                Rights::Allowed
                | Rights::RevokedBetween
                | Rights::RevokedDuringStart
                | Rights::FailoverForbidden => {}
            }
        }
        self.primary.effect.clone()
    }

    /// What the contract says.
    pub(crate) fn expected(&self) -> Expected {
        let nobody =
            |exits, says| Expected { exits, who: Who::Nobody, words: String::new(), probes: 0, says };
        match self.effect() {
            primary::Effect::Answered => {
                Expected { who: Who::Central, words: primary::CENTRAL.to_owned(), ..nobody(&[0], "") }
            }
            primary::Effect::Cut(words) => Expected { words, ..nobody(&[8], "broke off") },
            primary::Effect::Final(code) => nobody(only(code), ""),
            primary::Effect::Outage => match self.local {
                Local::Nobody => nobody(&[7], "no provider declared"),
                Local::TwoClaims | Local::BrokenFile => nobody(&[7], "provider file cannot be used"),
                Local::Openai | Local::ManagedCold | Local::ManagedWarm => self.permitted(),
            },
        }
    }

    /// What comes of the question for permission.
    fn permitted(&self) -> Expected {
        let refused = |exits| Expected {
            exits,
            who: Who::Nobody,
            words: String::new(),
            probes: 1,
            says: "failover refused",
        };
        if self.is_closed() {
            return refused(&[6]);
        }
        let is_yes = matches!(self.rights, Rights::Allowed | Rights::RevokedDuringStart);
        match self.probe.effect {
            _ if self.probe.rides && !is_yes => refused(&[5, 6]),
            probe::Effect::Denied => refused(&[5]),
            probe::Effect::Unknown => refused(&[6]),
            probe::Effect::Real if !is_yes => refused(&[5]),
            probe::Effect::Bare if self.knows_decisions() => refused(&[6]),
            // The engine is ready, the permission is older than ten seconds: asked again, and refused.
            probe::Effect::Real if self.rights == Rights::RevokedDuringStart => {
                Expected { probes: 2, ..refused(&[5]) }
            }
            probe::Effect::Real | probe::Effect::Bare => {
                Expected { exits: &[0], who: Who::Local, says: "failover: answering from", ..refused(&[]) }
            }
        }
    }
}

impl Probe {
    /// It goes well: what stands for "no probe at all" where none is expected.
    fn is_plain(&self) -> bool {
        self.kind == Kind::Nothing
    }
}

fn only(code: i32) -> &'static [i32] {
    match code {
        4 => &[4],
        5 => &[5],
        7 => &[7],
        _ => &[9],
    }
}
