//! The nodes of all LLMs as this server knows them: what each has to do, whether it answers, and which one is next.

use super::health::{Health, Standing};
use crate::http_client::{Pool, Target};
use mcp_api::{LlmName, LlmSpec};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::Instant;

/// As many nodes that rest are asked for one request, where no other is left.
const LAST_RESORTS_MAX: usize = 2;

/// All nodes of all LLMs that were asked.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<LlmName, Arc<Group>>>);

/// The nodes of one LLM.
#[derive(Debug)]
pub(super) struct Group {
    nodes: Vec<Arc<Node>>,
    /// Where the next look around begins, so that equals take turns.
    next: Mutex<usize>,
}

/// One place that serves one LLM. Two LLMs never share one, so that no prompt of one can spoil the other.
#[derive(Debug)]
pub(super) struct Node {
    url: String,
    /// Nothing if the URL leads nowhere.
    target: Option<Target>,
    pub(super) pool: Arc<Pool>,
    pending: AtomicUsize,
    health: Mutex<Health>,
}

/// What is to be seen of one node.
#[derive(Debug)]
pub(crate) struct NodeView {
    pub(crate) llm: String,
    pub(crate) url: String,
    /// Whether it is asked like the others, or rests after a failure.
    pub(crate) is_up: bool,
    /// Answers that it is at.
    pub(crate) pending: usize,
}

impl Nodes {
    /// The nodes of an LLM as it is described now. What is known of those that stay, stays known.
    pub(super) fn of(&self, llm: &LlmSpec) -> Arc<Group> {
        let mut groups = self.groups();
        let known = groups.get(&llm.name);
        if let Some(group) = known.filter(|group| group.is_of(llm.nodes())) {
            return Arc::clone(group);
        }
        let group = Arc::new(Group::new(llm.nodes(), known.map(|group| &**group)));
        groups.insert(llm.name.clone(), Arc::clone(&group));
        group
    }

    /// Forgets the LLMs of which `keeps` is false, and shows the nodes of the others.
    pub(super) fn look(&self, keeps: impl Fn(&str) -> bool) -> Vec<NodeView> {
        let mut groups = self.groups();
        groups.retain(|llm, _| keeps(llm.as_str()));
        let all = groups.iter().flat_map(|(llm, group)| group.nodes.iter().map(move |node| (llm, node)));
        all.map(|(llm, node)| NodeView {
            llm: llm.to_string(),
            url: node.url.clone(),
            is_up: node.health().is_up(),
            pending: node.pending.load(Ordering::Relaxed),
        })
        .collect()
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<LlmName, Arc<Group>>> {
        lock(&self.0)
    }
}

impl Group {
    fn new(urls: &[String], known: Option<&Self>) -> Self {
        let node = |url: &String| {
            let known = known.and_then(|group| group.nodes.iter().find(|node| node.url == *url));
            known.map_or_else(|| Arc::new(Node::new(url)), Arc::clone)
        };
        Self { nodes: urls.iter().map(node).collect(), next: Mutex::default() }
    }

    fn is_of(&self, urls: &[String]) -> bool {
        self.nodes.iter().map(|node| &node.url).eq(urls)
    }

    /// The nodes that have rested and should be looked at, which is under way from now on. A single one is asked in
    /// any case.
    pub(super) fn due(&self, now: Instant) -> Vec<Arc<Node>> {
        let is_due = |node: &&Arc<Node>| self.nodes.len() > 1 && node.health().begins_look(now);
        self.nodes.iter().filter(is_due).map(Arc::clone).collect()
    }

    /// The node for one request: of those that may be asked, the one with the least to do.
    fn choose(&self, tour: &mut Tour) -> Option<Arc<Node>> {
        let mut next = lock(&self.next);
        let count = self.nodes.len();
        let begin = *next;
        let untried: Vec<usize> =
            (0..count).map(|step| (begin + step) % count).filter(|at| !tour.tried.contains(at)).collect();
        let load = |at: &usize| self.nodes[*at].pending.load(Ordering::Relaxed);
        let may = |at: &usize| !matches!(self.nodes[*at].health().standing(), Standing::Out(_));
        let chosen = untried.iter().copied().filter(may).min_by_key(load).or_else(|| {
            tour.last_resorts += 1;
            let left = (tour.last_resorts <= LAST_RESORTS_MAX).then_some(untried);
            // The one that has rested longest; one that is being looked at comes last.
            let due = |at: &usize| match self.nodes[*at].health().standing() {
                Standing::Out(Some(until)) => (false, Some(until)),
                Standing::Out(None) | Standing::Ready | Standing::Trial => (true, None),
            };
            left.and_then(|left| left.into_iter().min_by_key(due))
        })?;
        tour.tried.push(chosen);
        *next = chosen + 1;
        Some(Arc::clone(&self.nodes[chosen]))
    }
}

/// One request on its way from node to node. None is asked twice.
#[derive(Debug)]
pub(super) struct Tour {
    group: Arc<Group>,
    tried: Vec<usize>,
    last_resorts: usize,
}

impl Tour {
    pub(super) fn of(group: Arc<Group>) -> Self {
        Self { group, tried: Vec::new(), last_resorts: 0 }
    }

    /// The next node, if one is left.
    pub(super) fn next(&mut self) -> Option<Turn> {
        let group = Arc::clone(&self.group);
        group.choose(self).map(Turn::at)
    }

    /// Says whether a node is left that was not asked.
    pub(super) fn goes_on(&self) -> bool {
        self.tried.len() < self.group.nodes.len()
    }
}

impl Node {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            target: Target::parse(url),
            pool: Arc::default(),
            pending: AtomicUsize::new(0),
            health: Mutex::default(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where it is, as its URL says.
    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// What a look at it has shown.
    pub(super) fn looked(&self, answers: bool) {
        self.health().looked(answers, Instant::now());
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }
}

/// One request at one node. The node has one thing less to do when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    node: Arc<Node>,
    began: Instant,
    is_trial: bool,
}

impl Turn {
    fn at(node: Arc<Node>) -> Self {
        node.pending.fetch_add(1, Ordering::Relaxed);
        let is_trial = {
            let mut health = node.health();
            let is_trial = health.standing() == Standing::Trial;
            if is_trial {
                health.try_out();
            }
            is_trial
        };
        Self { node, began: Instant::now(), is_trial }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The node answers.
    pub(super) fn answered(&mut self) {
        self.is_trial = false;
        self.node.health().answered(self.began);
    }

    /// The node does not do what it is there for.
    pub(super) fn failed(&mut self) {
        self.is_trial = false;
        self.node.health().failed(self.began, Instant::now());
        self.node.pool.clear();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.node.pending.fetch_sub(1, Ordering::Relaxed);
        if self.is_trial {
            self.node.health().trial_is_void();
        }
    }
}

/// No line of this module leaves what it locks in another state than it should be in.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llm(urls: &[&str]) -> LlmSpec {
        let urls = serde_json::to_string(urls).unwrap();
        serde_json::from_str(&format!(r#"{{"name": "chat", "type": "vllm", "model": "m", "urls": {urls}}}"#))
            .unwrap()
    }

    fn urls(turns: &[Turn]) -> Vec<String> {
        let mut urls: Vec<_> = turns.iter().map(|turn| turn.node().url().to_owned()).collect();
        urls.sort();
        urls
    }

    #[test]
    fn each_request_goes_to_the_node_with_the_least_to_do() {
        let nodes = Nodes::default();
        let group = nodes.of(&llm(&["http://a", "http://b", "http://c"]));
        let begin = || Tour::of(Arc::clone(&group)).next().unwrap();
        let mut turns: Vec<Turn> = (0..3).map(|_| begin()).collect();
        assert_eq!(urls(&turns), ["http://a", "http://b", "http://c"]);
        let freed = turns.remove(1).node().url().to_owned();
        assert_eq!(begin().node().url(), freed);
        drop(turns);
        // Equals take turns.
        let one_by_one: Vec<_> = (0..6).map(|_| begin().node().url().to_owned()).collect();
        for url in ["http://a", "http://b", "http://c"] {
            assert_eq!(one_by_one.iter().filter(|one| *one == url).count(), 2, "{one_by_one:?}");
        }
    }

    #[test]
    fn a_request_asks_no_node_twice_and_those_that_rest_only_at_last() {
        let nodes = Nodes::default();
        let group = nodes.of(&llm(&["http://a", "http://b", "http://c", "http://d"]));
        let mut first = Tour::of(Arc::clone(&group));
        let mut failed: Vec<_> = (0..3).map(|_| first.next().unwrap()).collect();
        failed.iter_mut().for_each(Turn::failed);
        let resting = urls(&failed);
        let mut second = Tour::of(Arc::clone(&group));
        let order: Vec<Turn> = std::iter::from_fn(|| second.next()).collect();
        assert!(!resting.contains(&order[0].node().url().to_owned()), "the one that answers comes first");
        assert_eq!(order.len(), 1 + LAST_RESORTS_MAX);
        let mut all = urls(&order);
        all.dedup();
        assert_eq!(all.len(), order.len());
    }

    #[test]
    fn a_single_node_is_always_asked() {
        let nodes = Nodes::default();
        let group = nodes.of(&llm(&["http://a"]));
        for _ in 0..5 {
            let mut tour = Tour::of(Arc::clone(&group));
            tour.next().unwrap().failed();
            assert!(tour.next().is_none());
        }
        assert!(group.due(Instant::now() + std::time::Duration::from_hours(1)).is_empty());
    }

    #[test]
    fn what_is_known_of_a_node_survives_a_change_of_the_others_and_goes_with_the_llm() {
        let nodes = Nodes::default();
        let mut tour = Tour::of(nodes.of(&llm(&["http://a"])));
        let mut busy = tour.next().unwrap();
        busy.failed();
        nodes.of(&llm(&["http://b", "http://a"]));
        let seen = nodes.look(|_| true);
        let state =
            |url: &str| seen.iter().find(|node| node.url == url).map(|node| (node.is_up, node.pending));
        assert_eq!((state("http://a"), state("http://b")), (Some((false, 1)), Some((true, 0))));
        assert!(nodes.look(|llm| llm != "chat").is_empty());
        assert!(nodes.look(|_| true).is_empty());
    }

    #[test]
    fn an_unused_trial_is_given_back() {
        let nodes = Nodes::default();
        let group = nodes.of(&llm(&["http://a", "http://b"]));
        let mut turn = Tour::of(Arc::clone(&group)).next().unwrap();
        turn.failed();
        let tried = turn.node().url().to_owned();
        drop(turn);
        let due = group.due(Instant::now() + std::time::Duration::from_mins(1));
        assert_eq!(due.iter().map(|node| node.url.clone()).collect::<Vec<_>>(), [tried]);
        due[0].looked(true);
        for _ in 0..2 {
            // Dropped without a word each time, as when the client has gone.
            let turns: Vec<_> = (0..2).map(|_| Tour::of(Arc::clone(&group)).next().unwrap()).collect();
            assert!(turns.iter().any(|turn| turn.is_trial));
        }
    }
}
