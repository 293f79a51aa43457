//! Models of what other projects do: a lock with a time to live, and then a write. The comparison with them shows what the protocol is for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use crate::host::{Client, Process};
use crate::world::{Given, Step, World};

/// How a host writes an answer of Ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It replaces any value.
    Blindly,
    /// It replaces the value only if no host has written since the token was read: the usual fence.
    Fenced,
}

/// The time to live of the lock: the lease of the protocol.
const TIME_TO_LIVE: Duration = Duration::from_secs(25);
const LIMIT: Duration = Duration::from_secs(10);

/// The memory of a host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// The access token, and the time at which it was made.
    pub access: Option<(usize, Duration)>,
}

/// Waits for a call for ten seconds, as the protocol does.
async fn limited<T>(call: ring_auth::shared::Answer<'_, T>) -> Option<T> {
    tokio::select! {
        biased;
        result = call => result.ok(),
        () = sleep(LIMIT) => None,
    }
}

/// The token and the access token that a store keeps: `refresh:access`.
fn parse(value: &str) -> Option<(usize, Option<usize>)> {
    let (refresh, access) = value.split_once(':')?;
    Some((refresh.parse().ok()?, access.parse().ok()))
}

async fn load(process: &Process) -> Option<(usize, Option<usize>, String)> {
    use ring_auth::shared::SharedStore;
    let kept = limited(Client(process.clone()).load()).await??;
    let (refresh, access) = parse(kept.value.expose())?;
    Some((refresh, access, kept.version))
}

async fn commit(process: &Process, value: String, version: Option<String>) -> Option<Option<String>> {
    use ring_auth::shared::SharedStore;
    limited(Client(process.clone()).commit(ring_auth::Secret::new(value), version)).await
}

fn is_valid(world: &World, made: Duration) -> bool {
    world.now().saturating_sub(made) < world.ring.lifetime / 10 * 9
}

/// Gets an access token with lock and write.
pub async fn auth(process: &Process, writes: Writes, known: &Arc<Mutex<Known>>) -> bool {
    let valid = |known: Known| known.access.is_some_and(|(_, made)| is_valid(&process.world(), made));
    let know = |access: Option<usize>| {
        let made = access.map(|access| (access, process.world().ring.access[access]));
        let mut known = known.lock().unwrap();
        known.access = made;
        *known
    };
    let mine = *known.lock().unwrap();
    if valid(mine) {
        return true;
    }
    let me = u128::from(process.number) << 32 | process.host as u128;
    for _ in 0..60 {
        let Some((_, access, _)) = load(process).await else { return false };
        if valid(know(access)) {
            return true;
        }
        let is_taken = {
            let mut world = process.world();
            let now = world.now();
            let is_free = world.engine.lock.is_none_or(|(_, until)| until <= now);
            if is_free {
                world.engine.lock = Some((me, now + TIME_TO_LIVE));
            }
            is_free
        };
        if !is_taken {
            sleep(Duration::from_millis(500)).await;
            process.runs().await;
            continue;
        }
        process.at(Step::AfterCommit).await;
        let rotated = rotate(process, writes, &know).await;
        let mut world = process.world();
        if world.engine.lock.is_some_and(|(holder, _)| holder == me) {
            world.engine.lock = None;
        }
        return rotated;
    }
    false
}

async fn rotate(process: &Process, writes: Writes, know: &impl Fn(Option<usize>) -> Known) -> bool {
    let Some((refresh, access, version)) = load(process).await else { return false };
    let is_done = know(access).access.is_some_and(|(_, made)| is_valid(&process.world(), made));
    if is_done {
        return true;
    }
    process.at(Step::BeforeCommit).await;
    let Ok(Given::Pair { refresh, access }) = process.post(refresh, false).await else { return false };
    let value = format!("{refresh}:{access}");
    let mut version = Some(version);
    // A write that fails is tried again, as long as the process lives.
    loop {
        match commit(process, value.clone(), version.clone()).await {
            Some(Some(_)) => break,
            Some(None) if writes == Writes::Fenced => break,
            _ => {
                sleep(Duration::from_secs(1)).await;
                process.runs().await;
                let now = process.world().engine.value.as_ref().map(|(_, version)| version.clone());
                if writes == Writes::Blindly {
                    version = now;
                }
            }
        }
    }
    know(Some(access));
    true
}
