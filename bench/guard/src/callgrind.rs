//! Has callgrind count what this program does for one case.

use crate::cases::Case;
use anyhow::Context;
use std::{fs, path::Path, process::Command};

/// String functions that every 64-bit processor of the last ten years has: glibc would take others on others.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-EVEX,-ERMS,-FSRM";

/// Seconds after which one case is given up: what takes so long has begun to grow with the square of its size.
const PATIENCE: &str = "60";

/// How many instructions one case takes at one size.
pub(crate) fn count(case: &Case, size: usize, folder: &Path) -> anyhow::Result<u64> {
    let file = folder.join(format!("{}-{size}", case.name));
    let output = Command::new("timeout")
        .arg(PATIENCE)
        .arg(std::env::var_os("VALGRIND").unwrap_or_else(|| "valgrind".into()))
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*mcp_guard*counted*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["measure", case.name, &size.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    anyhow::ensure!(
        status.success(),
        "{} {size} has failed, or took {PATIENCE} s: {status}\n{said}",
        case.name
    );
    let written = fs::read_to_string(&file).context("valgrind has written nothing")?;
    let total = written.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("no total in what valgrind wrote")?.trim().parse()?;
    anyhow::ensure!(total > 0, "nothing of {} was counted", case.name);
    Ok(total)
}
