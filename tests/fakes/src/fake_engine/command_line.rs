//! The two command lines that the program understands. What it does not know it ignores.

use std::{net::SocketAddr, path::PathBuf};

/// Whose part it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Vllm,
    Llama,
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) part: Part,
    pub(super) model: String,
    pub(super) name: String,
    pub(super) address: Address,
    /// Whether `--metrics` is there, without which `llama-server` counts nothing.
    pub(super) metrics: bool,
}

impl CommandLine {
    /// The arguments without the name of the program. An error is what it would say.
    pub(super) fn parse(args: &[String]) -> Result<Self, String> {
        let option = |name: &str| {
            let at = args.iter().position(|arg| arg.split('=').next() == Some(name))?;
            match args[at].split_once('=') {
                Some((_, value)) => Some(value.to_owned()),
                None => args.get(at + 1).cloned(),
            }
        };
        let needed = |name: &str| option(name).ok_or_else(|| format!("error: {name} is missing"));
        let tcp = || {
            let address = format!("{}:{}", needed("--host")?, needed("--port")?);
            address.parse().map(Address::Tcp).map_err(|_| format!("error: no address: {address}"))
        };
        let metrics = args.iter().any(|arg| arg == "--metrics");
        if args.first().is_some_and(|first| first == "serve") {
            let model = args.get(1).cloned().ok_or("vllm serve: error: no model")?;
            let name = needed("--served-model-name")?;
            let address = option("--uds").map_or_else(tcp, |path| Ok(Address::Unix(path.into())))?;
            return Ok(Self { part: Part::Vllm, model, name, address, metrics: true });
        }
        let (model, name, host) = (needed("--model")?, needed("--alias")?, needed("--host")?);
        let is_socket = host.strip_suffix(".sock").is_some();
        let address = if is_socket { Address::Unix(host.into()) } else { tcp()? };
        Ok(Self { part: Part::Llama, model, name, address, metrics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, String> {
        CommandLine::parse(&line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_command_lines_are_understood() {
        let vllm = parse("serve /m --enforce-eager --served-model-name=tiny --uds /tmp/e").unwrap();
        assert_eq!((vllm.part, vllm.address), (Part::Vllm, Address::Unix("/tmp/e".into())));
        assert_eq!((vllm.model.as_str(), vllm.name.as_str()), ("/m", "tiny"));
        let llama = parse("--model /m.gguf --alias tiny --host 127.0.0.1 --port 80 --metrics").unwrap();
        assert_eq!((llama.part, llama.metrics), (Part::Llama, true));
        assert_eq!(llama.address, Address::Tcp(([127, 0, 0, 1], 80).into()));
        let socket = parse("--model /m.gguf --alias tiny --host /tmp/e.sock").unwrap();
        assert_eq!((socket.address, socket.metrics), (Address::Unix("/tmp/e.sock".into()), false));
        assert_eq!(parse("serve /m --served-model-name t").unwrap_err(), "error: --host is missing");
    }
}
