//! A double of a name server: answers lookups by a script, over UDP and only that.

use std::{
    collections::BTreeSet,
    net::{IpAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// What a lookup of a name brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These, each as A or AAAA.
    Addresses(Vec<IpAddr>),
    /// `NXDOMAIN`.
    NoSuchName,
    /// `SERVFAIL`.
    Failure,
    /// Nothing at all.
    Silence,
}

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
/// How often the double looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Ends when it is dropped.
pub(super) struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answers: Vec<Answer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ends: bool,
    lookups: Vec<String>,
    /// The number of each question: one that comes again is the same lookup.
    known: BTreeSet<[u8; 2]>,
}

impl NameServer {
    pub(super) fn start(socket: UdpSocket, answers: Vec<Answer>) -> Self {
        socket.set_read_timeout(Some(LOOK)).expect("the option is known");
        let shared = Arc::new(Shared { answers, state: Mutex::default() });
        let serving = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || serving.serve(&socket)));
        Self { shared, thread }
    }

    /// The names that were looked up, in their order.
    pub(super) fn lookups(&self) -> Vec<String> {
        self.shared.with(|state| state.lookups.clone())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.with(|state| state.ends = true);
        if let Some(thread) = self.thread.take() {
            let _has_told = thread.join();
        }
    }
}

impl Shared {
    fn with<T>(&self, at: impl FnOnce(&mut State) -> T) -> T {
        at(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, socket: &UdpSocket) {
        let mut packet = [0; 512];
        while !self.with(|state| state.ends) {
            let Ok((size, from)) = socket.recv_from(&mut packet) else { continue };
            let Some(question) = Question::read(&packet[..size]) else { continue };
            if let Some(reply) = question.reply(self.answer_to(&question)) {
                let _is_gone = socket.send_to(&reply, from);
            }
        }
    }

    /// A lookup asks for both kinds of addresses, that for A first; both get the same answer.
    fn answer_to(&self, question: &Question<'_>) -> &Answer {
        let lookup = self.with(|state| {
            if question.kind == TYPE_A && state.known.insert(question.id()) {
                state.lookups.push(question.name.clone());
            }
            state.lookups.len().max(1) - 1
        });
        self.answers.get(lookup).or(self.answers.last()).expect("a name server has an answer")
    }
}

/// A query with one question.
struct Question<'a> {
    packet: &'a [u8],
    /// Where it ends; what follows are options.
    end: usize,
    name: String,
    kind: u16,
}

impl<'a> Question<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).into_owned());
            at += length;
        }
        let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
        packet.get(at + 2..at + 4)?;
        Some(Self { packet, end: at + 4, name: labels.join("."), kind })
    }

    fn id(&self) -> [u8; 2] {
        [self.packet[0], self.packet[1]]
    }

    fn reply(&self, answer: &Answer) -> Option<Vec<u8>> {
        let (code, addresses) = match answer {
            Answer::Silence => return None,
            Answer::Failure => (2, &[][..]),
            Answer::NoSuchName => (3, &[][..]),
            Answer::Addresses(addresses) => (0, &addresses[..]),
        };
        let records: Vec<Vec<u8>> = addresses.iter().filter_map(|address| self.record(*address)).collect();
        let mut reply = self.id().to_vec();
        // An answer, recursion wanted and had; one question, so many records, nothing else.
        let count = u8::try_from(records.len()).expect("a few addresses");
        reply.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        reply.extend(&self.packet[12..self.end]);
        reply.extend(records.concat());
        Some(reply)
    }

    /// The name that was asked for has this address, and nobody may keep that; none if another kind was asked for.
    fn record(&self, address: IpAddr) -> Option<Vec<u8>> {
        let (kind, bytes) = match address {
            IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
            IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
        };
        let mut record = vec![0xc0, 12];
        record.extend(kind.to_be_bytes());
        record.extend([0, 1, 0, 0, 0, 0, 0, u8::try_from(bytes.len()).expect("16 at most")]);
        record.extend(bytes);
        (kind == self.kind).then_some(record)
    }
}
