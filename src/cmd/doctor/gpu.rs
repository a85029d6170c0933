//! The memory of the graphics cards, where `nvidia-smi` tells it: vLLM refuses to start with less than it wants.

use super::finding::{Check, Report};
use crate::{
    cmd::Run,
    engine::{Condition, Status},
    limit::within,
    program,
    providers_file::{Kind, Provider, ProvidersFile, Vllm},
};
use serde::Deserialize;
use std::{
    process::{Command, Stdio},
    time::Duration,
};

const PROGRAM: &str = "nvidia-smi";
const QUESTION: [&str; 2] =
    ["--query-gpu=index,name,memory.total,memory.free", "--format=csv,noheader,nounits"];
/// The variables that it sees: neither a token of ours nor the key of a provider is its business.
const SEEN: [&str; 5] = ["PATH", "HOME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// The share of the memory that vLLM wants if it is not told another.
const SHARE: f64 = 0.92;

/// One card; its memory in MiB.
#[derive(Debug, PartialEq, Deserialize)]
struct Card {
    index: u32,
    name: String,
    total: u64,
    free: u64,
}

/// Looks at the cards if a provider of the file would use one.
pub(super) fn memory(run: &Run<'_>, file: Option<&ProvidersFile>, report: &mut Report) {
    let managed = |provider: &&Provider| !matches!(provider.kind, Kind::OpenAi(_));
    let Some(file) = file.filter(|file| file.registry.providers().any(|it| managed(&it))) else { return };
    let Some(program) = run.env.on_path(PROGRAM) else { return };
    let mut command = Command::new(program);
    command.args(QUESTION).stderr(Stdio::null()).env_clear();
    command.envs(SEEN.iter().filter_map(|name| Some((name, run.env.var(name)?))));
    let cards = match program::output(&mut command, LIMIT, ANSWER_MAX) {
        Ok(answer) => read(&answer),
        Err(error) => {
            report.remark(Check::Gpu, format!("{PROGRAM}: {error}")).mend(PROGRAM);
            return;
        }
    };
    if cards.is_empty() {
        report.remark(Check::Gpu, format!("{PROGRAM} tells of no card")).mend(PROGRAM);
    }
    for card in &cards {
        let finding = format!("{}: {} of {} free", card.name, gib(card.free), gib(card.total));
        report.ok(Check::Gpu, finding).about(card.index.to_string());
    }
    for provider in file.registry.providers() {
        let Kind::VllmManaged(vllm) = &provider.kind else { continue };
        let (env, name) = (run.env.clone(), provider.name.clone());
        let status = within(LIMIT, move || Status::of(&env, &name)).and_then(Result::ok);
        let is_stopped =
            status.is_some_and(|status| matches!(status.condition, Condition::Stopped | Condition::Failed));
        let visible = vllm.managed.env.get("CUDA_VISIBLE_DEVICES").map(String::as_str);
        let visible = visible.or_else(|| run.env.var("CUDA_VISIBLE_DEVICES"));
        if let Some(card) = card_of(visible, &cards).filter(|_| is_stopped) {
            compare(report, &provider.name, vllm, card);
        }
    }
}

/// The first card that an engine sees. None if it is named by something other than its number.
fn card_of<'a>(visible: Option<&str>, cards: &'a [Card]) -> Option<&'a Card> {
    let first = visible.and_then(|list| list.split(',').next()).unwrap_or("0");
    let index: u32 = first.trim().parse().ok()?;
    cards.iter().find(|card| card.index == index)
}

fn compare(report: &mut Report, name: &str, vllm: &Vllm, card: &Card) {
    let share = vllm.gpu_memory_utilization.unwrap_or(SHARE);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "MiB of a card, and a share of at most 1"
    )]
    let wanted = (card.total as f64 * share) as u64;
    if wanted > card.free {
        let finding = format!(
            "vLLM wants {} of GPU {} (gpuMemoryUtilization {share}), and {} are free",
            gib(wanted),
            card.index,
            gib(card.free)
        );
        report.wrong(Check::Provider, finding).about(name).mend(PROGRAM);
    }
}

/// What makes no sense is left out: what the program prints differs with its version.
fn read(answer: &[u8]) -> Vec<Card> {
    let lines = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(answer);
    lines.into_deserialize().filter_map(Result::ok).collect()
}

fn gib(mib: u64) -> String {
    format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nvidia_smi_tells_is_read_and_what_it_does_not_tell_is_left_out() {
        let text = "0, NVIDIA GeForce RTX 4090, 24564, 23000\n1, Tesla T4, [N/A], 3\nNo devices were found\n";
        let cards = read(text.as_bytes());
        assert_eq!(cards.len(), 1, "{cards:?}");
        assert_eq!((cards[0].index, cards[0].total, gib(cards[0].free)), (0, 24564, "22.4 GiB".into()));
        assert!(read(b"\xff\xfe").is_empty());
    }

    #[test]
    fn an_engine_uses_the_first_card_that_it_sees() {
        let card = |index| Card { index, name: "x".into(), total: 1, free: 1 };
        let cards = [card(0), card(1)];
        let index = |visible| card_of(visible, &cards).map(|card| card.index);
        assert_eq!([index(None), index(Some("1,0")), index(Some("GPU-5e1b"))], [Some(0), Some(1), None]);
        assert_eq!(index(Some("7")), None);
    }
}
