//! `providers validate`: would the file do, and if not, which line is to be changed?

use crate::{
    cmd::{Run, Usage},
    exit::Exit,
    provider,
};

pub(super) fn run(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let file = run.providers()?;
    run.takes_no_format()?;
    let Some(file) = file else {
        run.say("there is no provider file, so there are no failovers")?;
        return Ok(Exit::Ok);
    };
    // Which server is meant may be unknown here; then this one check has to wait until it is.
    if let Ok(server) = run.server()
        && let Some(provider) =
            file.registry.providers().find(|provider| provider::is_at(provider, &server.url))
    {
        let (path, line) = (file.path.display(), provider.line);
        let message =
            format!("{path}:{line}: provider \"{}\" is the central server {server} itself", provider.name);
        return Err(Usage(message).into());
    }
    let (providers, failovers) = (file.registry.providers().count(), file.registry.failovers().count());
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (providers, failovers) = (plural(providers, "provider"), plural(failovers, "failover"));
    run.say(format_args!("{}: {providers}, {failovers}", file.path.display()))?;
    Ok(Exit::Ok)
}
