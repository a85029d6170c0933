//! How a command starts a supervisor.

use super::{Answer, COMMAND};
use crate::engine::Launch;
use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// Starts a supervisor and gives its first word, which comes when it has started the engine or knows why not.
pub fn spawn(launch: &Launch) -> io::Result<Answer> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("mcpctl")
        .args([COMMAND, &launch.provider])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut instructions) = child.stdin.take() {
        // If it is gone already, it says nothing, and that is noticed.
        let _ = instructions.write_all(&serde_json::to_vec(launch)?);
    }
    let mut text = String::new();
    if let Some(output) = &mut child.stdout {
        output.read_to_string(&mut text)?;
    }
    let answer = serde_json::from_str(&text).unwrap_or(Answer::None);
    if !matches!(answer, Answer::Started) {
        // It is gone or about to be. Where whoever started us ignores children, there is nothing to wait for.
        let _ = child.wait();
    }
    Ok(answer)
}
