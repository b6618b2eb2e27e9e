//! Under what conditions a CPU is measured, as far as the system says so: clock, temperature, throttling, load.
//!
//! Nothing here decides anything. It stands beside the times, so that whoever wonders about them later can see that
//! the machine was hot or busy.

use std::collections::BTreeMap;
use std::path::Path;

/// What Linux tells of its processor; empty elsewhere.
pub(crate) fn of_cpu() -> BTreeMap<String, String> {
    read(Path::new("/"))
}

fn read(root: &Path) -> BTreeMap<String, String> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok().map(|t| t.trim().to_owned());
    let number = |path: &str| text(path)?.parse::<u64>().ok();
    let cpu0 = "sys/devices/system/cpu/cpu0";
    let mut out = BTreeMap::new();
    let mut say = |name: &str, value: Option<String>| out.extend(value.map(|value| (name.to_owned(), value)));
    let clock = number(&format!("{cpu0}/cpufreq/scaling_cur_freq")).map(|khz| (khz / 1000).to_string());
    say("clock_mhz", clock.or_else(|| clock_of_cpuinfo(&text("proc/cpuinfo")?)));
    say("governor", text(&format!("{cpu0}/cpufreq/scaling_governor")));
    say("throttled", number(&format!("{cpu0}/thermal_throttle/core_throttle_count")).map(|n| n.to_string()));
    let temperature = number("sys/class/thermal/thermal_zone0/temp");
    say("temperature_c", temperature.map(|thousandths| (thousandths / 1000).to_string()));
    say("load", text("proc/loadavg").and_then(|all| all.split(' ').next().map(str::to_owned)));
    out
}

/// Whole megahertz of the first processor in `/proc/cpuinfo`.
fn clock_of_cpuinfo(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("cpu MHz"))?;
    let mhz: f64 = line.split(':').nth(1)?.trim().parse().ok()?;
    Some(format!("{mhz:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_written_down_and_the_rest_is_left_out() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(read(root.path()).is_empty());
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("it is made");
            std::fs::write(path, text).expect("it is written");
        };
        file("proc/loadavg", "0.52 0.58 0.59 1/467 12345\n");
        file("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2400.417\n");
        file("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
        let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        let wanted = [("clock_mhz", "2400"), ("load", "0.52"), ("throttled", "3")].map(own);
        assert_eq!(read(root.path()), wanted.into());
        file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3100000\n");
        assert_eq!(read(root.path())["clock_mhz"], "3100");
    }
}
