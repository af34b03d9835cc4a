// SPDX-License-Identifier: GPL-2.0
//! Periods of traffic: the discrete Fourier transform of how many packets there were in each slice of
//! time.

use rustfft::{FftPlanner, num_complex::Complex};
use serde::Serialize;
use std::time::Duration;

/// Slices of time at most.
const SLICES: usize = 1 << 16;

/// A period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Period {
    /// Its length in seconds.
    pub seconds: f64,
    /// Its part of the power of all periods, 0 to 1.
    pub share: f64,
}

/// The strongest periods of events at `times`, the strongest first, at most `k`. None for less than 16
/// events.
pub fn periods(times: &[Duration], slice: Duration, k: usize) -> Vec<Period> {
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Vec::new();
    };
    let width = slice.as_secs_f64().max(1e-6);
    let slices = ((*last - *first).as_secs_f64() / width) as usize + 1;
    let slices = slices.next_power_of_two().clamp(16, SLICES);
    if times.len() < 16 {
        return Vec::new();
    }
    let mut signal = vec![Complex::new(0.0, 0.0); slices];
    for time in times {
        let at = ((*time - *first).as_secs_f64() / width) as usize;
        if let Some(slice) = signal.get_mut(at) {
            slice.re += 1.0;
        }
    }
    let mean = signal.iter().map(|c| c.re).sum::<f64>() / slices as f64;
    signal.iter_mut().for_each(|c| c.re -= mean);
    FftPlanner::new()
        .plan_fft_forward(slices)
        .process(&mut signal);
    let half: Vec<f64> = signal
        .iter()
        .take(slices / 2)
        .map(Complex::norm_sqr)
        .collect();
    let total: f64 = half.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut bins: Vec<(usize, f64)> = half.into_iter().enumerate().skip(1).collect();
    bins.sort_by(|a, b| b.1.total_cmp(&a.1));
    let period = |(bin, power): (usize, f64)| Period {
        seconds: slices as f64 * width / bin as f64,
        share: power / total,
    };
    bins.into_iter().take(k).map(period).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_every_8_ms_is_found() {
        let times: Vec<_> = (0..4000).map(|n| Duration::from_millis(n * 8)).collect();
        let found = periods(&times, Duration::from_millis(1), 8);
        // Its harmonics are as strong: the longest of the strong ones is the period.
        let strong = found.iter().filter(|p| p.share > 0.05);
        let longest = strong.map(|p| p.seconds).fold(0.0, f64::max);
        assert!((longest - 0.008).abs() < 0.0005, "{found:?}");
    }

    #[test]
    fn few_events_have_no_period() {
        assert_eq!(
            periods(&[Duration::ZERO; 3], Duration::from_millis(1), 8),
            []
        );
    }
}
