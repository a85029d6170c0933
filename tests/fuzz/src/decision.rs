//! The answer to a probe: a permit only where a reading of the headers written here finds one, and the headers and the
//! question survive the way.
//!
//! The bytes are lines: first what was asked, `NAME NONCE` and after them an id or `-`, and `required` if a decision is;
//! then the status, and then headers, as `decision: allow; ...`.

use mcp_api::{Decision, FailoverPolicy, LlmId, LlmKey, Nonce, ProbeRequest};
use mcpctl::failover::{Asked, ProbeReply, Verdict};
use std::{fmt, str::FromStr};

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let value = line.split_once(": ").map_or(line, |(_, value)| value);
        survives::<Decision>(value);
        survives::<ProbeRequest>(value);
        survives::<FailoverPolicy>(value);
    }
    let mut lines = text.lines();
    let Some(asked) = lines.next().and_then(asked) else { return };
    let status = lines.next().and_then(|status| status.parse().ok()).unwrap_or_default();
    let mut reply = ProbeReply { status, ..ProbeReply::default() };
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let values = match name {
            "decision" => &mut reply.decision,
            "failover" => &mut reply.failover,
            "content-type" => &mut reply.content_type,
            _ => continue,
        };
        values.push(value.to_owned());
    }
    let verdict = Verdict::judge(&asked, &reply);
    let is_allowed = verdict.outcome().is_ok();
    assert!(!is_allowed || permits(&asked, &reply), "{asked:?} {reply:?} was taken for a permit");
    assert_eq!(is_allowed, verdict.to_string() == "allowed");
    usual(&asked, &reply);
}

/// What parses prints, and that parses as the same.
fn survives<T: FromStr + fmt::Display + fmt::Debug + PartialEq>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let printed = value.to_string();
    assert_eq!(printed.parse::<T>().ok().as_ref(), Some(&value), "{text:?} became {printed:?}");
}

fn asked(line: &str) -> Option<Asked> {
    let words: Vec<&str> = line.split(' ').collect();
    let [llm, nonce, id, required] = words[..] else { return None };
    let id = if id == "-" { None } else { Some(id.parse().ok()?) };
    Some(Asked {
        llm: llm.parse().ok()?,
        nonce: nonce.parse().ok()?,
        id,
        decision_required: required == "required",
    })
}

/// Whether these headers say yes, by looking for the words of a yes and for nothing else.
fn permits(asked: &Asked, reply: &ProbeReply) -> bool {
    let is_page = |value: &String| {
        let value = value.trim_start().to_lowercase();
        value.starts_with("text/html") || value.starts_with("application/xhtml")
    };
    let is_page = reply.content_type.iter().any(is_page);
    let is_forbidden = !matches!(reply.failover.join(",").as_str(), "" | "allowed");
    if reply.status != 200 || is_page || is_forbidden || reply.failover.len() > 1 {
        return false;
    }
    match &reply.decision[..] {
        // A server that is older than the header, and has never sent it.
        [] => !asked.decision_required,
        [decision] => {
            let words: Vec<&str> = decision.split(';').map(str::trim).collect();
            let values = |key: &str| -> Vec<&str> {
                words.iter().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).collect()
            };
            let (llm, id, nonce) = (values("llm"), values("id"), values("nonce"));
            let is_named = match &asked.llm {
                LlmKey::Name(name) => llm == [name.as_str()],
                LlmKey::Id(key) => id == [key.as_str()],
            };
            let is_known = asked.id.as_ref().is_none_or(|known| id == [known.as_str()]);
            let [verbs] = values("verbs")[..] else { return false };
            words[0] == "allow"
                && words.len() == 5
                && nonce == [asked.nonce.to_string().as_str()]
                && is_named
                && is_known
                && verbs.split(',').any(|verb| verb == "run")
        }
        _ => false,
    }
}

/// The usual yes to this question is one, and a word less is none.
fn usual(asked: &Asked, odd: &ProbeReply) {
    let (Ok(name), Ok(id)) = ("chat-prod".parse(), "c000000000000000000000000".parse::<LlmId>()) else {
        return;
    };
    let llm = if let LlmKey::Name(name) = &asked.llm { name.clone() } else { name };
    let id = match (&asked.llm, &asked.id) {
        (LlmKey::Id(asked), Some(known)) if asked != known => return,
        (LlmKey::Id(id), _) | (_, Some(id)) => id.clone(),
        _ => id,
    };
    let judged = |status, nonce: &Nonce, verbs: &str| {
        let decision = vec![format!("allow; llm={llm}; id={id}; verbs={verbs}; nonce={nonce}")];
        let reply =
            ProbeReply { status, decision, failover: vec!["allowed".to_owned()], ..ProbeReply::default() };
        Verdict::judge(asked, &reply).outcome().is_ok()
    };
    assert!(judged(200, &asked.nonce, "view,run"), "the usual yes is none");
    assert!(!judged(200, &asked.nonce, "view"), "to view is not to run");
    assert!(odd.status == 200 || !judged(odd.status, &asked.nonce, "run"), "yes with {}", odd.status);
    let other = Nonce::from_bytes([0xab; 16]);
    assert!(other == asked.nonce || !judged(200, &other, "run"), "an old yes is none");
}
