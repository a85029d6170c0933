//! What the supervisor of an engine costs for as long as the engine runs.

use crate::engine_stage::EngineStage;
use fakes::FakeEngine;
use std::fs;

/// A line of `/proc/PID/status`, in bytes.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_supervisor_is_small_also_after_its_engine_has_said_much() {
    const MIB: u64 = 1 << 20;
    let engine = FakeEngine::vllm().noisy(2 << 20);
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0);
    let supervisor = stage.pid_of("supervisor");
    // Memory of its own. It is the number that says what one more supervisor costs: the pages of the program's file
    // are shared with every other mcpctl, and the kernel takes them back when it needs them.
    let own = memory(supervisor, "RssAnon");
    assert!(own < 2 * MIB, "{own} bytes of its own");
    // All that is mapped and present. Of a program that is not optimised more than twice as much, so there
    // it proves little.
    let whole = memory(supervisor, "VmHWM");
    let limit = if cfg!(debug_assertions) { 24 * MIB } else { 10 * MIB };
    assert!(whole < limit, "{whole} bytes, with those that it shares");
}
