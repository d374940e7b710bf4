//! Members: the live processes of a consumer, and of the relay. They share a consumer's shards by
//! rendezvous hashing, so that one that comes or goes moves only its own.
//!
//! Membership is a hint for speed; the fence of [`crate::position`] is what keeps two processes
//! that both believe in a shard from handling an event twice. A claim of a member that fell silent
//! is void where a repeated call is harmless, see [`Claimant`]; hence a worker's first heartbeat
//! comes before its first claim.
//!
//! Owns `outbox.member`.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::clock::micros;

/// The relay's role in `outbox.member`.
pub(crate) const RELAY: i16 = 0;

/// How often a member says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// A heartbeat that takes longer is given up, and another tried: soon others take us for dead.
pub(crate) const BEATS_WITHIN: Duration = Duration::from_secs(5);

/// Who claims a shard or deliveries, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant {
    pub(crate) consumer: i16,
    pub(crate) member: Uuid,
    /// How long the claim holds.
    pub(crate) seconds: i32,
    /// Whether the claim of a member that fell silent is void before its time. A silent member may
    /// be frozen and not dead, and then go on with its calls: only where a repeated call is
    /// harmless. Otherwise the deadline is waited for, which no call outlasts.
    pub(crate) succeeds_silent: bool,
}

/// What a member does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    /// The consumer it runs, or [`RELAY`].
    pub(crate) consumer: i16,
    /// For how long it leaves the other side of the consumer alone.
    pub(crate) closed_for: Option<Duration>,
}

impl From<i16> for Role {
    fn from(consumer: i16) -> Self {
        Self {
            consumer,
            closed_for: None,
        }
    }
}

/// Tells that `member` lives, for each of its roles. A member that is silent for six seconds is
/// taken for dead; three heartbeats fit in, so that one slow statement does not move its shards.
pub(crate) async fn beat(
    pool: &PgPool,
    member: Uuid,
    roles: &[Role],
    address: SocketAddr,
) -> Result<(), sqlx::Error> {
    let (consumers, closed): (Vec<_>, Vec<_>) = roles
        .iter()
        .map(|role| (role.consumer, role.closed_for.map(micros)))
        .unzip();
    sqlx::query!(
        "
        -- member: beat
        insert into outbox.member (member, consumer, address, closed_until)
        select $1, consumer, $3, clock_timestamp() + closed_us * interval '1 microsecond'
        from unnest($2::smallint[], $4::bigint[]) as role (consumer, closed_us)
        on conflict (member, consumer) do update
        set heartbeat = clock_timestamp(), address = excluded.address,
            closed_until = excluded.closed_until
        ",
        member,
        &consumers,
        address.to_string(),
        &closed as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Leaves, and clears away those who died long ago.
pub(crate) async fn leave(pool: &PgPool, member: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- member: leave
        delete from outbox.member
        where member = $1 or heartbeat < clock_timestamp() - interval '1 hour'
        ",
        member,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The live members of a role, in order of their ids.
pub(crate) async fn live(pool: &PgPool, role: i16) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "
        -- member: live
        select member from outbox.member
        where consumer = $1 and heartbeat > clock_timestamp() - interval '6 seconds'
        order by member
        ",
        role,
    )
    .fetch_all(pool)
    .await
}

/// The names of the consumers that have a live member, and whether a relay lives: a program that
/// would run them itself need not.
///
/// # Errors
/// The database's.
pub async fn live_consumers(pool: &PgPool) -> Result<(Vec<String>, bool), sqlx::Error> {
    let names = sqlx::query_scalar!(
        "
        -- member: consumers that live
        select distinct consumer.name
        from outbox.member join outbox.consumer using (consumer)
        where heartbeat > clock_timestamp() - interval '6 seconds'
        "
    )
    .fetch_all(pool)
    .await?;
    let relay = !live(pool, RELAY).await?.is_empty();
    Ok((names, relay))
}

pub(crate) async fn addresses_of_relays(pool: &PgPool) -> Result<Vec<SocketAddr>, sqlx::Error> {
    let texts = sqlx::query_scalar!(
        "
        -- member: addresses of relays
        select distinct address from outbox.member
        where consumer = 0 and heartbeat > clock_timestamp() - interval '6 seconds'
        "
    )
    .fetch_all(pool)
    .await?;
    Ok(parsed(&texts))
}

pub(crate) async fn addresses_of_workers(pool: &PgPool) -> Result<Vec<SocketAddr>, sqlx::Error> {
    let texts = sqlx::query_scalar!(
        "
        -- member: addresses of workers
        select distinct address from outbox.member
        where consumer <> 0 and heartbeat > clock_timestamp() - interval '6 seconds'
        "
    )
    .fetch_all(pool)
    .await?;
    Ok(parsed(&texts))
}

fn parsed(texts: &[String]) -> Vec<SocketAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Who of `members` owns a shard: the one with the highest hash of (shard, member).
pub(crate) fn owner(consumer: i16, shard: i16, members: &[Uuid]) -> Option<Uuid> {
    members
        .iter()
        .copied()
        .max_by_key(|member| weight(consumer, shard, *member))
}

fn weight(consumer: i16, shard: i16, member: Uuid) -> u64 {
    let salt = (u64::from(consumer.unsigned_abs()) << 16) | u64::from(shard.unsigned_abs());
    let (high, low) = member.as_u64_pair();
    mix(mix(high ^ mix(salt)) ^ low)
}

/// The finalizer of `SplitMix64`: every input bit reaches every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(n: u128) -> Vec<Uuid> {
        (1..=n).map(Uuid::from_u128).collect()
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_shards() {
        let all = members(4);
        let fewer = members(3);
        for shard in 0..64 {
            let before = owner(1, shard, &all);
            if before != Some(all[3]) {
                assert_eq!(before, owner(1, shard, &fewer));
            }
        }
    }

    #[test]
    fn every_member_gets_a_share() {
        let all = members(4);
        for member in &all {
            let shards = (0..64)
                .filter(|shard| owner(1, *shard, &all) == Some(*member))
                .count();
            assert!((6..=28).contains(&shards), "{shards}");
        }
    }

    #[test]
    fn nobody_owns_a_shard_of_a_consumer_without_members() {
        assert_eq!(owner(1, 0, &[]), None);
    }
}
