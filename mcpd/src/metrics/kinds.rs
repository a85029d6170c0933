//! Counters, gauges and histograms with a fixed number of labels: a call with too few of them does not compile.

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    core::{Collector, MetricVec, MetricVecBuilder},
    proto::MetricFamily,
};
use std::{collections::HashMap, time::Duration};

/// The label that says which LLM. Its values are names of the registry and nothing else.
pub(super) const LLM: &str = "gen_ai_request_model";

/// How a metric is made and registered: what the table in [`super`] needs of each kind.
pub(super) trait Kind<const N: usize>: Sized {
    fn made(named: &Named<N>, registry: &Registry) -> Result<Self, prometheus::Error>;

    /// Drops what was counted of LLMs of which `keeps` is false.
    fn forget(&self, named: &Named<N>, keeps: &dyn Fn(&str) -> bool);
}

/// What a metric is called, what it says, and which labels it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<const N: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: [&'static str; N],
    /// The upper bounds of a histogram's buckets.
    pub(super) buckets: &'static [f64],
}

/// What only grows.
#[derive(Debug, Clone)]
pub(crate) struct Counter<const N: usize>(IntCounterVec);

/// What only grows, and is counted by somebody else.
#[derive(Debug, Clone)]
pub(crate) struct Total(CounterVec);

/// What goes up and down.
#[derive(Debug, Clone)]
pub(crate) struct Gauge<const N: usize>(GaugeVec);

/// How often which sizes occurred.
#[derive(Debug, Clone)]
pub(crate) struct Histogram<const N: usize>(HistogramVec);

impl<const N: usize> Counter<N> {
    /// Counts one more.
    pub(crate) fn count(&self, labels: [&str; N]) {
        self.add(labels, 1);
    }

    /// Counts some more; also with 0 the series is there from then on.
    pub(crate) fn add(&self, labels: [&str; N], more: u64) {
        // The number of labels is right by its type, and nothing else can be wrong: here and below.
        if let Ok(one) = self.0.get_metric_with_label_values(&labels) {
            one.inc_by(more);
        }
    }
}

impl Total {
    /// Says how much it is by now. It never goes back.
    pub(crate) fn reach(&self, value: f64) {
        if let Ok(one) = self.0.get_metric_with_label_values::<&str>(&[]) {
            one.inc_by((value - one.get()).max(0.0));
        }
    }
}

impl<const N: usize> Gauge<N> {
    /// Says how much it is now.
    pub(crate) fn set(&self, labels: [&str; N], value: f64) {
        if let Ok(one) = self.0.get_metric_with_label_values(&labels) {
            one.set(value);
        }
    }

    /// Is one more until what comes back is dropped.
    pub(crate) fn held(&self, labels: [&str; N]) -> Held {
        let one = self.0.get_metric_with_label_values(&labels).ok();
        one.iter().for_each(prometheus::Gauge::inc);
        Held(one)
    }
}

/// One that a [`Gauge`] counts.
#[derive(Debug)]
pub(crate) struct Held(Option<prometheus::Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().for_each(prometheus::Gauge::dec);
    }
}

impl<const N: usize> Histogram<N> {
    /// Notes one size.
    pub(crate) fn note(&self, labels: [&str; N], size: f64) {
        if let Ok(one) = self.0.get_metric_with_label_values(&labels) {
            one.observe(size);
        }
    }

    /// Notes one time, in seconds.
    pub(crate) fn took(&self, labels: [&str; N], time: Duration) {
        self.note(labels, time.as_secs_f64());
    }
}

impl<const N: usize> Kind<N> for Counter<N> {
    fn made(named: &Named<N>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = Self(IntCounterVec::new(Opts::new(named.name, named.help), &named.labels)?);
        registry.register(Box::new(made.0.clone()))?;
        if N == 0 {
            made.add([""; N], 0);
        }
        Ok(made)
    }

    fn forget(&self, named: &Named<N>, keeps: &dyn Fn(&str) -> bool) {
        forget(&self.0, named, keeps);
    }
}

impl Kind<0> for Total {
    fn made(named: &Named<0>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = Self(CounterVec::new(Opts::new(named.name, named.help), &named.labels)?);
        registry.register(Box::new(made.0.clone()))?;
        Ok(made)
    }

    fn forget(&self, named: &Named<0>, keeps: &dyn Fn(&str) -> bool) {
        forget(&self.0, named, keeps);
    }
}

impl<const N: usize> Kind<N> for Gauge<N> {
    fn made(named: &Named<N>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = Self(GaugeVec::new(Opts::new(named.name, named.help), &named.labels)?);
        registry.register(Box::new(made.0.clone()))?;
        Ok(made)
    }

    fn forget(&self, named: &Named<N>, keeps: &dyn Fn(&str) -> bool) {
        forget(&self.0, named, keeps);
    }
}

impl<const N: usize> Kind<N> for Histogram<N> {
    fn made(named: &Named<N>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let named_so = HistogramOpts::new(named.name, named.help).buckets(named.buckets.to_vec());
        let made = Self(HistogramVec::new(named_so, &named.labels)?);
        registry.register(Box::new(made.0.clone()))?;
        Ok(made)
    }

    fn forget(&self, named: &Named<N>, keeps: &dyn Fn(&str) -> bool) {
        forget(&self.0, named, keeps);
    }
}

fn forget<B: MetricVecBuilder, const N: usize>(
    all: &MetricVec<B>,
    named: &Named<N>,
    keeps: &dyn Fn(&str) -> bool,
) where
    MetricVec<B>: Collector,
{
    if !named.labels.contains(&LLM) {
        return;
    }
    for metric in all.collect().iter().flat_map(MetricFamily::get_metric) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
        if labels.get(LLM).is_some_and(|llm| !keeps(llm)) {
            // Gone already is as good.
            let _ = all.remove(&labels);
        }
    }
}
