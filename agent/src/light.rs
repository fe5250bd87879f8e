//! A light of the machine that blinks, so that one finds it in its rack: the BMC's identify light, else that of a network
//! port. Both go out by themselves when nobody asks for more, as when this program ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::facts;
use crate::limits::{LIGHT_LOOK, LIGHT_MARGIN, LIGHT_SLICE};
use crate::state::{Net, Port, Published as _};

/// Most seconds that a BMC can be told: it counts them in a byte.
const MOST_OF_A_BMC: u64 = 255;

/// A light that can blink.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Light {
    Bmc,
    /// The network port of this name.
    Port(String),
}

impl Light {
    /// Has it blink for so long: a BMC goes on by itself, a port blinks before this returns. False where it has no light.
    fn blink(&self, time: Duration) -> anyhow::Result<bool> {
        match self {
            Self::Bmc => facts::bmc_light(seconds(time, MOST_OF_A_BMC)),
            Self::Port(name) => facts::port_light(name, seconds(time, LIGHT_SLICE.as_secs())),
        }
    }

    /// How long it blinks after it was told to, at most.
    fn slice(&self) -> Duration {
        match self {
            Self::Bmc => Duration::from_secs(MOST_OF_A_BMC),
            Self::Port(_) => LIGHT_SLICE,
        }
    }
}

/// The light that blinks now.
struct Blinking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

static NOW: Mutex<Option<Blinking>> = Mutex::new(None);

/// Has a light blink for so many seconds, beside everything else, in the place of one that blinks already; 0 only ends that.
/// Gives a sentence that says which.
///
/// # Errors
/// No light can blink, and why.
pub(crate) fn identify(seconds: u32) -> anyhow::Result<String> {
    let mut now = NOW.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(former) = now.take() {
        former.stop.store(true, Ordering::Relaxed);
        // One that panicked does not blink any more either.
        let _: thread::Result<()> = former.thread.join();
    }
    if seconds == 0 {
        facts::bmc_light(0).context("the BMC's identify light may still blink")?;
        return Ok("no light blinks any more".to_owned());
    }
    let time = Duration::from_secs(seconds.into());
    let begun = Instant::now();
    let ports = Net::read().unwrap_or_default().ports;
    let light = find(&ports, &mut |light| light.blink(time))?;
    let text = format!("{} blinks for {seconds} s", named(&light, &ports));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let blinks = move || keep_on(&light, begun, time, &told);
    let thread = thread::Builder::new().name("light".to_owned()).spawn(blinks).context("no thread can be started")?;
    *now = Some(Blinking { stop, thread });
    Ok(text)
}

/// The first light that blinks when it is asked to: the BMC's, then those of the ports, first of all of one in use.
fn find(ports: &[Port], blink: &mut dyn FnMut(&Light) -> anyhow::Result<bool>) -> anyhow::Result<Light> {
    let mut ports: Vec<&Port> = ports.iter().filter(|port| port.over.is_empty()).collect();
    ports.sort_by_key(|port| (!port.up, port.addresses.is_empty()));
    let lights = std::iter::once(Light::Bmc).chain(ports.into_iter().map(|port| Light::Port(port.name.clone())));
    let mut reasons = Vec::new();
    for light in lights {
        match blink(&light) {
            Ok(true) => return Ok(light),
            Ok(false) if light == Light::Bmc => reasons.push("there is no BMC with an identify light".to_owned()),
            Ok(false) => reasons.push(format!("{} cannot be told to blink", named(&light, &[]))),
            Err(why) => reasons.push(format!("{why:#}")),
        }
    }
    bail!("nothing on this machine can blink: {}", reasons.join("; "))
}

/// Goes on until the time is over or it is told to stop.
fn keep_on(light: &Light, begun: Instant, time: Duration, stop: &AtomicBool) {
    let (end, mut told) = (begun + time, begun);
    loop {
        let now = Instant::now();
        if now >= end || stop.load(Ordering::Relaxed) {
            return;
        }
        if is_due(light, told, end, now) {
            told = now;
            if let Err(why) = light.blink(end - now) {
                tracing::warn!("the light does not blink any more: {why:#}");
                return;
            }
        }
        thread::sleep(LIGHT_LOOK.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Whether a light that was told so long ago must be told again. A port's has gone out whenever one can ask.
fn is_due(light: &Light, told: Instant, end: Instant, now: Instant) -> bool {
    let goes_out = told + light.slice();
    goes_out < end && now + LIGHT_MARGIN >= goes_out
}

/// Whole seconds of that time, at least one and at most so many.
fn seconds(time: Duration, most: u64) -> u8 {
    u8::try_from(time.as_secs().clamp(1, most)).unwrap_or(u8::MAX)
}

fn named(light: &Light, ports: &[Port]) -> String {
    match light {
        Light::Bmc => "the BMC's identify light".to_owned(),
        Light::Port(name) => {
            let port = ports.iter().find(|port| port.name == *name);
            let place = port.and_then(Port::plugged_into).map(|place| format!(", {place}")).unwrap_or_default();
            let mac = port.map(|port| format!(" ({}{place})", port.mac)).unwrap_or_default();
            format!("the light of network port {name}{mac}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Vec<Port> {
        let port = |name: &str, up, addresses: &[&str]| Port {
            name: name.to_owned(),
            mac: format!("mac-of-{name}"),
            up,
            addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
            ..Port::default()
        };
        vec![port("eth0", false, &[]), port("eth1", true, &[]), port("eth2", true, &["10.0.0.7/24"])]
    }

    #[test]
    fn the_bmc_comes_first_and_then_the_port_in_use() {
        let mut asked = Vec::new();
        let found = find(&ports(), &mut |light| {
            asked.push(light.clone());
            Ok(*light == Light::Port("eth1".to_owned()))
        });
        assert_eq!(found.unwrap(), Light::Port("eth1".to_owned()));
        assert_eq!(asked, [Light::Bmc, Light::Port("eth2".to_owned()), Light::Port("eth1".to_owned())]);
        assert_eq!(find(&ports(), &mut |_| Ok(true)).unwrap(), Light::Bmc);
        assert_eq!(named(&Light::Port("eth1".to_owned()), &ports()), "the light of network port eth1 (mac-of-eth1)");
    }

    #[test]
    fn where_nothing_blinks_each_reason_is_named() {
        let error = find(&ports()[..1], &mut |light| match light {
            Light::Bmc => bail!("the BMC is busy"),
            Light::Port(_) => Ok(false),
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the BMC is busy; the light of network port eth0 cannot be told to blink"), "{error}");
        let none = find(&[], &mut |_| Ok(false)).unwrap_err().to_string();
        assert!(none.contains("no BMC with an identify light"), "{none}");
    }

    #[test]
    fn a_bmc_is_told_again_before_its_light_goes_out_and_not_after_the_end() {
        let told = Instant::now();
        let at = |s| told + Duration::from_secs(s);
        assert!(!is_due(&Light::Bmc, told, at(600), at(200)) && is_due(&Light::Bmc, told, at(600), at(241)));
        assert!(!is_due(&Light::Bmc, told, at(250), at(245)), "it goes out by itself");
        assert!(is_due(&Light::Port("eth0".to_owned()), told, at(60), at(2)));
        assert_eq!((seconds(Duration::from_secs(600), 255), seconds(Duration::ZERO, 255)), (255, 1));
    }
}
