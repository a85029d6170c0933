//! Whether two things take the same time, on a machine that does other things as well.

/// By how much one of two things takes longer, in the unit of whoever timed them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The median of the differences; positive if the first one takes longer.
    pub bias: f64,
    /// The standard error of it.
    pub error: f64,
    /// The median of the times of the second one.
    pub usual: f64,
}

/// Times two things in turn, either first as often as the other.
///
/// Medians, because one time in a hundred is that of something that has nothing to do with it; differences within a
/// pair, because a busy machine slows both of it.
pub fn compare(pairs: u32, mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> Comparison {
    let (mut differences, mut times) = (Vec::new(), Vec::new());
    for number in 0..pairs {
        // Which is first follows no period that something else on this machine could have.
        let (a, b) = if number.wrapping_mul(2_654_435_769) >> 31 == 0 {
            let a = one();
            (a, other())
        } else {
            let b = other();
            (one(), b)
        };
        differences.push(a - b);
        times.push(b);
    }
    let bias = median(&mut differences);
    let mut deviations: Vec<_> = differences.iter().map(|difference| (difference - bias).abs()).collect();
    // 1.4826 makes a standard deviation of a median deviation, 1.2533 the error of a median of that of a mean.
    let error = 1.2533 * 1.4826 * median(&mut deviations) / f64::from(pairs).sqrt();
    Comparison { bias, error, usual: median(&mut times) }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
