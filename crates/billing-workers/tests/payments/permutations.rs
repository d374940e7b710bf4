//! The answer, a webhook, the same webhook again, another webhook and the look-up: whatever order
//! they come in, and at whatever gateway, what is written in the end is the same.
//!
//! The table's own guards are taken away: it is the code that is looked at.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use billing::gateway::{Gateway as _, Gateways, Movement, Verdict, Webhook};
use billing::payment::{self, Attempt, Outcome};
use billing_workers::Call;
use billing_workers::gateways::{House, Secret};
use futures::{StreamExt as _, stream};
use gateway_sim::{GatewaySim, Profile, Running};
use outbox::{Act, Event, Load};
use tempfile::TempDir;
use uuid::Uuid;

use crate::hand::{Hand, unresolved};
use crate::planted::noticed;
use crate::webhooks::Letterbox;
use crate::world::{SECRET, World, now};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Answer,
    Webhook,
    OtherWebhook,
    LookUp,
}

use Teller::{Answer, LookUp, OtherWebhook, Webhook as First};

/// One whose answer is the verdict, and one whose answer tells nothing: in turn.
const TOKENS: [&str; 2] = ["tok_approve", "tok_timeout_charged_1ms"];

/// So many payments at once, which know nothing of each other and share the disk's flushes.
const AT_ONCE: usize = 8;

/// All orders of what is left, each once.
fn orders(left: &[Teller]) -> Vec<Vec<Teller>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let mut found: Vec<Vec<Teller>> = Vec::new();
    for nth in 0..left.len() {
        if left[..nth].contains(&left[nth]) {
            continue;
        }
        let mut rest = left.to_vec();
        let first = rest.remove(nth);
        for mut order in orders(&rest) {
            order.insert(0, first);
            found.push(order);
        }
    }
    found
}

fn sixty() -> Vec<Vec<Teller>> {
    let orders = orders(&[Answer, First, First, OtherWebhook, LookUp]);
    assert_eq!(orders.len(), 60);
    orders
}

/// A gateway of each kind, and one company with cards of all.
struct Scene {
    world: Arc<World>,
    hand: Arc<Hand>,
    houses: BTreeMap<&'static str, Arc<House>>,
    letterbox: Letterbox,
    _sims: Vec<(Running, TempDir)>,
}

/// A charge that was made, and of which nothing is recorded yet.
struct Made {
    call: Call,
    answer: Option<Outcome>,
}

impl Made {
    fn attempt(&self) -> &Attempt {
        match &self.call {
            Call::Charge(attempt) | Call::Ask(attempt) => attempt,
        }
    }

    fn id(&self) -> Uuid {
        self.attempt().payment.into()
    }
}

impl Scene {
    async fn open() -> Self {
        let letterbox = Letterbox::open().await;
        let (mut houses, mut sims) = (BTreeMap::new(), Vec::new());
        let mut gateways = Gateways::default();
        for profile in Profile::ALL {
            let folder = tempfile::tempdir().unwrap();
            let sim = GatewaySim::at(folder.path()).profile(profile);
            let sim = sim.webhook(&letterbox.url, SECRET).start().await.unwrap();
            let house = House::of_simulator(sim.address()).profile(profile);
            let house = house.secret(Secret::new(SECRET));
            let house = Arc::new(house.timeout(Duration::from_secs(10)));
            gateways = gateways.with(profile.name, house.clone());
            houses.insert(profile.name, house);
            sims.push((sim, folder));
        }
        let world = Arc::new(World::open().await);
        world.run(WITHOUT_GUARDS).await;
        let hand = Hand::with(&world, gateways);
        Self {
            world,
            hand,
            houses,
            letterbox,
            _sims: sims,
        }
    }

    /// Makes a charge for each card, and records nothing.
    async fn made(&self, cards: &[(&str, &str)]) -> Vec<Made> {
        self.world.billed_at(cards).await;
        let news = stream::iter(self.hand.news().await);
        let made = news.map(async |event| self.make(&event).await);
        let made: Vec<Made> = made.buffered(AT_ONCE).collect().await;
        assert_eq!(made.len(), cards.len());
        made
    }

    async fn make(&self, event: &Event) -> Made {
        let call = self.hand.call(event).await;
        // The first time, one that throttles turns it away.
        let mut acted = self.hand.act(&call).await;
        if matches!(acted, Act::Unavailable { .. }) {
            acted = self.hand.act(&call).await;
        }
        let Act::Answer(answer) = acted else {
            panic!("{acted:?}");
        };
        Made { call, answer }
    }

    /// What each payment's webhook tells, with its bytes.
    async fn webhooks(&self, count: usize) -> BTreeMap<Uuid, (Webhook, Vec<u8>)> {
        let house = &self.houses["default"];
        let came = self.letterbox.wait_for(count).await;
        let read = came.into_iter().map(|came| {
            let webhook = came.read_by(house).unwrap();
            (webhook.payment.unwrap().into(), (webhook, came.body))
        });
        read.collect()
    }

    async fn tell(&self, made: &Made, (webhook, body): &(Webhook, Vec<u8>), teller: Teller) {
        match teller {
            Answer => {
                self.hand
                    .settle(made.call.clone(), made.answer.clone())
                    .await
            }
            First => self.receive(made, webhook.clone(), body).await,
            OtherWebhook => {
                let id = format!("{}_other", webhook.id);
                let other = Webhook {
                    id,
                    ..webhook.clone()
                };
                self.receive(made, other, body).await;
            }
            LookUp => {
                if let Load::Call(call) = self.hand.load(&unresolved(made.id())).await {
                    let Act::Answer(answer) = self.hand.act(&call).await else {
                        panic!("no answer");
                    };
                    self.hand.settle(call, answer).await;
                }
            }
        }
    }

    async fn receive(&self, made: &Made, webhook: Webhook, body: &[u8]) {
        let gateway = made.attempt().gateway.as_str();
        let mut tx = self.world.begin().await;
        payment::receive(&mut tx, (gateway, webhook), body, now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Three days late, and not true any more.
    async fn tell_late(&self, made: &Made, (webhook, body): &(Webhook, Vec<u8>)) {
        let id = format!("{}_late", webhook.id);
        let declined = Verdict::Declined {
            gateway_ref: None,
            code: "try_again".to_owned(),
            is_soft: true,
        };
        let late = Webhook {
            id,
            verdict: Some(declined),
            ..webhook.clone()
        };
        self.receive(made, late, body).await;
    }

    /// What is written of each payment, with amounts as differences from what was asked for.
    async fn written(&self) -> BTreeMap<Uuid, String> {
        let rows = sqlx::query_as(WRITTEN).fetch_all(self.world.pool());
        let rows: Vec<(Uuid, String)> = rows.await.unwrap();
        rows.into_iter().collect()
    }

    async fn statements(&self) -> Vec<Movement> {
        let mut all = Vec::new();
        for house in self.houses.values() {
            let mut after = 0;
            loop {
                let page = house.statement(after).await.unwrap();
                let Some(last) = page.last() else { break };
                after = last.seq;
                all.extend(page);
            }
        }
        all
    }
}

const WITHOUT_GUARDS: &str = "
    do $$ begin
        -- Nobody pulls the plug here, and seven thousand commits need not wait for the disk.
        execute format('alter database %I set synchronous_commit = off', current_database());
    end $$;
    drop trigger payment_moves on billing.payment;
    drop trigger payment_fixed on billing.payment;
    create table public.move (payment_id uuid, was text, becomes text);
    create function public.note_move() returns trigger language plpgsql as $$
    begin
        insert into public.move values (new.payment_id, old.state, new.state);
        return null;
    end $$;
    create trigger note_move after update of state on billing.payment for each row
        execute function public.note_move();";

const WRITTEN: &str = "
    select payment_id, concat_ws(' ', payment.state, captured_minor - amount_minor,
        applied_minor - amount_minor, invoice.state, posted.all, told.all, kept.all)
    from billing.payment
    join billing.invoice using (invoice_id)
    left join lateral (
        select string_agg(
            concat(source_kind, ':', debit, '>', credit, ':',
                transfer.amount_minor - payment.amount_minor), ' '
        ) as all
        from billing.transfer where source_id = payment_id
    ) as posted on true
    left join (
        select payload ->> 'payment_id' as id, string_agg(topic, ' ' order by topic) as all
        from outbox.event
        where topic like 'payment.%' and topic <> 'payment.unresolved'
        group by 1
    ) as told on told.id = payment_id::text
    left join (
        select payment_id as id, string_agg(outcome, ' ') as all
        from billing.gateway_webhook group by 1
    ) as kept on kept.id = payment_id";

const ALIKE: &str = "succeeded 0 0 paid payment:cash>receivable:0 payment.succeeded \
    applied applied applied";

/// None leaves a final state, nor comes to the one it has.
const ILLEGAL: &str = "public.move where was in ('succeeded', 'declined', 'cancelled')
    or (was, becomes) in (('created', 'succeeded'), ('created', 'unknown'))";

#[tokio::test]
async fn sixty_orders_at_nine_gateways_come_to_one_result() {
    let scene = Scene::open().await;
    let sixty = sixty();
    let profiles = Profile::ALL.map(|profile| profile.name);
    let cards = (0..sixty.len()).flat_map(|nth| profiles.map(|name| (name, nth)));
    // Nine are odd: each order has both answers, at different gateways.
    let cards = cards
        .enumerate()
        .map(|(n, (name, _))| (name, TOKENS[n % 2]));
    let cards: Vec<(&str, &str)> = cards.collect();

    let made = scene.made(&cards).await;
    let webhooks = scene.webhooks(cards.len()).await;
    let orders = assigned(&made, &sixty);
    let telling = stream::iter(&made).for_each_concurrent(AT_ONCE, async |made| {
        let webhook = &webhooks[&made.id()];
        for teller in orders[&made.id()] {
            scene.tell(made, webhook, *teller).await;
        }
        scene.tell_late(made, webhook).await;
    });
    telling.await;

    for (payment, written) in scene.written().await {
        assert_eq!(written, ALIKE, "{:?}", orders[&payment]);
    }
    assert_eq!(scene.world.count(ILLEGAL).await, 0);
    one_charge_each(&scene, &made).await;
}

/// Each gateway has each order once.
fn assigned<'a>(made: &[Made], sixty: &'a [Vec<Teller>]) -> BTreeMap<Uuid, &'a Vec<Teller>> {
    let mut left: BTreeMap<&str, std::slice::Iter<'a, Vec<Teller>>> = BTreeMap::new();
    let orders = made.iter().map(|made| {
        let gateway = made.attempt().gateway.as_str();
        let next = left.entry(gateway).or_insert_with(|| sixty.iter()).next();
        (made.id(), next.unwrap())
    });
    orders.collect()
}

async fn one_charge_each(scene: &Scene, made: &[Made]) {
    let statement = scene.statements().await;
    let charged: HashSet<&str> = statement.iter().map(|one| one.reference.as_str()).collect();
    assert_eq!(charged.len(), made.len());
    assert_eq!(statement.len(), made.len());
    let taken: i64 = statement.iter().map(|one| one.money.minor()).sum();
    let cash = "select sum(amount_minor) from billing.transfer where debit = 'cash'";
    assert_eq!(scene.world.ask(cash).await, taken.to_string());
}

#[tokio::test]
async fn a_webhook_of_days_ago_changes_nothing_of_what_is_final() {
    let scene = Scene::open().await;
    let made = scene.made(&[("default", "tok_approve")]).await.remove(0);
    let webhook = scene.webhooks(1).await.remove(&made.id()).unwrap();
    scene.tell(&made, &webhook, Answer).await;

    scene.tell_late(&made, &webhook).await;

    let state = scene.world.ask("select state from billing.payment").await;
    assert_eq!(state, "succeeded");
}

#[test]
fn a_late_webhook_that_overwrites_a_final_state_is_noticed() {
    let test = "permutations::a_webhook_of_days_ago_changes_nothing_of_what_is_final";

    let printed = noticed("B11", test).unwrap();

    assert!(printed.contains("declined"), "{printed}");
}
