//! `infer`: the whole product. Ask the server; if its inference path fails, ask it for permission; only then ask a
//! local provider.

mod args;
mod failure;
mod plan;
mod sinks;

pub(crate) use args::InferArgs;
pub use failure::InferFailure;

use super::Run;
use crate::{
    chat::{Answer, ChatRequest, Complete, Limits, Sink},
    config::Server,
    exit::Exit,
    failover::{Attempt, CallFailure, Fault, NoStandIn, Permit, PrimaryState, Verdict},
    gateway::Gateway,
    http, memory,
    provider::{self, LendError},
    providers_file::{Kind, Provider, ProvidersFile},
    render::{self, Format},
};
use args::{Reasoning, Route};
use failure::{Record, Target};
use mcp_api::{LlmKey, headers};
use serde_json::json;
use sinks::{DocumentSink, TextSink};
use std::time::{Duration, Instant};

/// Runs the command.
pub(super) fn run(run: &mut Run<'_>, args: &InferArgs) -> anyhow::Result<Exit> {
    let llm = args.key()?;
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let server = run.server()?;
    let token = run.credential(&server)?.token;
    let request = args.request(run)?;
    let providers = usable_providers(run, args.route);
    let stand_in = stand_in(providers.as_ref(), &llm, args.route, &server);
    if args.dry_run {
        return plan::show(run, args, &server, &llm, &request, &stand_in);
    }
    let gateway = Gateway::new(&server, token, args.connect_timeout, args.head_limit())?;
    run.detail(format_args!("{server}, request id {}", gateway.request_id()));
    let origin = server.origin();
    let into = if format == Format::Json { Into::Document(DocumentSink::default()) } else { Into::Text };
    let mut ask =
        Ask { run, args, llm, origin, gateway, request, limits: args.limits(), records: Vec::new(), into };
    match ask.answer(stand_in) {
        Ok(served) => ask.conclude(&served),
        Err(failure) => Err(ask.failed(failure).into()),
    }
}

/// One question on its way to an answer.
struct Ask<'r, 'io> {
    run: &'r mut Run<'io>,
    args: &'r InferArgs,
    llm: LlmKey,
    origin: String,
    gateway: Gateway,
    request: ChatRequest,
    limits: Limits,
    records: Vec<Record>,
    into: Into,
}

/// Where the answer goes.
enum Into {
    /// To stdout, while it arrives.
    Text,
    /// Into a document.
    Document(DocumentSink),
}

/// Who answered what.
struct Served {
    provider: Option<String>,
    model: Option<String>,
    complete: Complete,
    took: Duration,
}

impl Ask<'_, '_> {
    fn answer(&mut self, stand_in: Result<&Provider, NoStandIn>) -> Result<Served, InferFailure> {
        let attempt = Attempt::new(stand_in);
        let failure = match self.ask_central() {
            Ok(served) => return Ok(served),
            Err(failure) => failure,
        };
        let probe = attempt.failed(failure)?;
        let verdict = self.probe(probe.cause());
        let permit = probe.answered(verdict)?;
        self.ask_stand_in(&permit)
    }

    fn ask_central(&mut self) -> Result<Served, CallFailure> {
        if self.args.route == Route::Local {
            return Err(CallFailure::before_content(Fault::NotAsked));
        }
        let started = Instant::now();
        let (gateway, llm, request, limits) = (&self.gateway, &self.llm, &self.request, &self.limits);
        let answered =
            into_sink(&mut self.into, self.run, self.args, |sink| gateway.infer(llm, request, limits, sink));
        let took = started.elapsed();
        let head = match &answered {
            Ok(complete) => Some(&complete.head),
            Err((_, head)) => head.as_ref(),
        };
        if head.is_some_and(|head| head.contains_key(headers::DECISION)) {
            self.remember_decision();
        }
        match answered {
            Ok(complete) => {
                self.records.push(Record::ok(Target::Central, took));
                Ok(Served { provider: None, model: complete.answer.model.clone(), complete, took })
            }
            Err((failure, _)) => {
                self.records.push(Record::failed(Target::Central, &failure, took));
                Err(failure)
            }
        }
    }

    fn probe(&mut self, cause: &CallFailure) -> Verdict {
        let required = memory::decision_required(&self.run.env, &self.origin);
        let probed = self.gateway.probe(&self.llm, cause.llm_id.clone(), required);
        self.records.push(Record::probed(&probed));
        if probed.decision_sent {
            self.remember_decision();
        }
        probed.verdict
    }

    fn ask_stand_in(&mut self, permit: &Permit<&Provider>) -> Result<Served, InferFailure> {
        let provider = *permit.stand_in();
        let started = Instant::now();
        let lease = provider::lend(permit, &self.run.env, self.args.connect_timeout, self.args.head_limit())
            .map_err(|error| self.cannot_lend(permit, &error, started.elapsed()))?;
        self.tell_failover(permit);
        let (request, limits) = (&self.request, &self.limits);
        let answered =
            into_sink(&mut self.into, self.run, self.args, |sink| lease.complete(request, limits, sink));
        let took = started.elapsed();
        let target = Target::Provider(provider.name.clone());
        match answered {
            Ok(complete) => {
                self.records.push(Record::ok(target, took));
                let (name, model) = (provider.name.clone(), provider.model.clone());
                Ok(Served { provider: Some(name), model: Some(model), complete, took })
            }
            Err(failed) => {
                let failure = CallFailure { fault: failed.fault, delivered: failed.delivered, llm_id: None };
                self.records.push(Record::failed(target, &failure, took));
                Err(InferFailure::stand_in(permit.cause().clone(), &provider.name, failure))
            }
        }
    }

    fn cannot_lend(&mut self, permit: &Permit<&Provider>, error: &LendError, took: Duration) -> InferFailure {
        let name = &permit.stand_in().name;
        self.records.push(Record::not_lent(Target::Provider(name.clone()), took));
        InferFailure::not_lent(permit.cause().clone(), name, error.to_string())
    }

    /// The truth about who answers, before the first word of the answer.
    fn tell_failover(&mut self, permit: &Permit<&Provider>) {
        let provider = *permit.stand_in();
        for record in &self.records {
            if let Some(line) = told(record, permit.cause(), &self.llm) {
                self.run.note(line);
            }
        }
        self.run.note(format_args!(
            "failover: answering from local provider \"{}\", model {}",
            provider.name, provider.model
        ));
        if let Kind::OpenAi(spec) = &provider.kind
            && !http::is_loopback(&spec.url)
        {
            self.run.note(format_args!("the prompt leaves this machine, to {}", http::target(&spec.url)));
        }
    }

    fn remember_decision(&mut self) {
        if let Err(error) = memory::decision_seen(&self.run.env, &self.origin) {
            self.run.detail(format_args!("cannot remember that this server sends its decisions: {error}"));
        }
    }

    /// What is said after a complete answer.
    fn conclude(self, served: &Served) -> anyhow::Result<Exit> {
        let answer = &served.complete.answer;
        let reason = answer.finish_reason.clone().unwrap_or_default();
        if self.args.strict && reason != "stop" {
            return Err(self.failed(InferFailure::not_stopped(reason)).into());
        }
        match reason.as_str() {
            "length" => self.run.warn(length_warning(self.args.max_tokens)),
            "content_filter" => {
                self.run.warn("a content filter cut the answer (finish_reason: content_filter)");
            }
            _ => {}
        }
        if let Into::Document(sink) = &self.into {
            let document = render::document_text(&self.document(served, sink), Format::Json);
            self.run.print(&document)?;
        }
        if self.args.usage {
            let line = usage_line(&self.llm, served);
            self.run.note(line);
        }
        Ok(Exit::Ok)
    }

    fn document(&self, served: &Served, sink: &DocumentSink) -> serde_json::Value {
        let answer: &Answer = &served.complete.answer;
        let failover = served.provider.is_some();
        let content = json!({
            "llm": self.llm.as_str(),
            "failover": failover,
            "route": if failover { "local" } else { "central" },
            "provider": served.provider,
            "model": served.model,
            "content": sink.content,
            "reasoning": (!sink.reasoning.is_empty()).then_some(&sink.reasoning),
            "toolCalls": answer.tool_calls,
            "finishReason": answer.finish_reason,
            "usage": answer.usage,
            "attempts": self.records,
            "requestId": self.gateway.request_id(),
        });
        render::document("Inference", content)
    }

    /// The failure with everything that a document about it needs.
    fn failed(self, failure: InferFailure) -> InferFailure {
        let partial = match self.into {
            Into::Document(sink) if !sink.content.is_empty() => Some(sink.content),
            Into::Document(_) | Into::Text => None,
        };
        failure.of(self.llm, self.gateway.request_id(), self.records, partial)
    }
}

/// Lends the sink that the format wants for one call.
fn into_sink<T, E>(
    into: &mut Into,
    run: &mut Run<'_>,
    args: &InferArgs,
    call: impl FnOnce(&mut dyn Sink) -> Result<T, E>,
) -> Result<T, E> {
    let reasoning = match args.reasoning {
        Reasoning::Auto => run.io.err_is_terminal && !run.global.quiet,
        Reasoning::Show => true,
        Reasoning::Hide => false,
    };
    match into {
        Into::Document(sink) => call(sink),
        Into::Text => {
            let mut sink = TextSink::new(run.io.out, run.io.err, run.io.out_is_terminal, reasoning);
            let result = call(&mut sink);
            if result.is_err() {
                sink.interrupted();
            }
            result
        }
    }
}

/// The providers, if they may be needed. A file that cannot be used never stands in the way of the server.
fn usable_providers(run: &mut Run<'_>, route: Route) -> Option<Result<ProvidersFile, ()>> {
    if route == Route::Central {
        return None;
    }
    match run.providers() {
        Ok(file) => file.map(Ok),
        Err(error) => {
            run.warn(format_args!("{error}; failover is off until it is mended"));
            Some(Err(()))
        }
    }
}

fn stand_in<'a>(
    providers: Option<&'a Result<ProvidersFile, ()>>,
    llm: &LlmKey,
    route: Route,
    server: &Server,
) -> Result<&'a Provider, NoStandIn> {
    if route == Route::Central {
        return Err(NoStandIn::RouteCentral);
    }
    let file = match providers {
        None => return Err(NoStandIn::NotDeclared),
        Some(Err(())) => return Err(NoStandIn::FileUnusable),
        Some(Ok(file)) => file,
    };
    let name = match llm {
        LlmKey::Name(name) => name,
        LlmKey::Id(_) => return Err(NoStandIn::AskedById),
    };
    let provider = file.registry.stand_in_for(name).ok_or(NoStandIn::NotDeclared)?;
    if is_central(provider, server) { Err(NoStandIn::IsCentral(provider.name.clone())) } else { Ok(provider) }
}

/// A provider at the server's own origin would ask the server that has just failed.
pub(super) fn is_central(provider: &Provider, server: &Server) -> bool {
    match &provider.kind {
        Kind::OpenAi(spec) => http::is_same_server(&spec.url, &server.url),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => false,
    }
}

fn length_warning(max_tokens: Option<u32>) -> String {
    let limit = max_tokens.map_or("the limit of the model".into(), |max| format!("--max-tokens {max}"));
    format!("the answer reached {limit} and is truncated (finish_reason: length); --strict makes this exit 8")
}

fn usage_line(llm: &LlmKey, served: &Served) -> String {
    let who = served
        .provider
        .as_ref()
        .map_or("central".into(), |provider| format!("local provider \"{provider}\""));
    let model = served.model.as_deref().unwrap_or("model not told");
    let tokens = served.complete.answer.usage.map_or(String::new(), |usage| {
        format!("{} tokens in, {} out, ", usage.prompt_tokens, usage.completion_tokens)
    });
    let first = served.complete.first_content.unwrap_or(served.took);
    let (first, total) = (first.as_secs_f64(), served.took.as_secs_f64());
    format!("{llm}, {who} ({model}), {tokens}first token {first:.2} s, total {total:.2} s")
}

/// What led to a failover, a line for each thing that was tried.
fn told(record: &Record, cause: &CallFailure, llm: &LlmKey) -> Option<String> {
    let millis = record.took.as_millis();
    match record.target {
        Target::Central => {
            let maybe_executed = match cause.primary_state() {
                PrimaryState::Unknown => "; it may still carry out the request",
                PrimaryState::NotExecuted | PrimaryState::Partial => "",
            };
            Some(format!("{} after {}{maybe_executed}", cause.told_of("central"), seconds(record.took)))
        }
        Target::Probe => Some(format!("permission for \"{llm}\" confirmed by the server in {millis} ms")),
        Target::Provider(_) => None,
    }
}

/// `0.4 s`.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
