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
use billing_workers::gateways::House;
use gateway_sim::{GatewaySim, Profile, Running};
use outbox::{Act, Load};
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

/// One whose answer is the verdict, and one whose answer tells nothing.
const TOKENS: [&str; 2] = ["tok_approve", "tok_timeout_charged_1ms"];

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
            let house = house.secret(billing_workers::gateways::Secret::new(SECRET));
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
        let mut made = Vec::new();
        for event in self.hand.news().await {
            let call = self.hand.call(&event).await;
            // The first time, one that throttles turns it away.
            let mut acted = self.hand.act(&call).await;
            if matches!(acted, Act::Unavailable { .. }) {
                acted = self.hand.act(&call).await;
            }
            let Act::Answer(answer) = acted else {
                panic!("{acted:?}");
            };
            made.push(Made { call, answer });
        }
        assert_eq!(made.len(), cards.len());
        made
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
    let kinds = Profile::ALL.map(|profile| TOKENS.map(|token| (profile.name, token)));
    let cards = vec![kinds.concat(); sixty.len()].concat();

    let made = scene.made(&cards).await;
    let webhooks = scene.webhooks(cards.len()).await;
    let (mut orders, mut seen) = (BTreeMap::new(), BTreeMap::new());
    for made in &made {
        let attempt = made.attempt();
        let kind = (attempt.gateway.as_str(), attempt.token.as_str());
        let nth = seen.entry(kind).and_modify(|nth| *nth += 1).or_insert(0);
        let order: &Vec<Teller> = &sixty[*nth];
        let webhook = &webhooks[&made.id()];
        for teller in order {
            scene.tell(made, webhook, *teller).await;
        }
        scene.tell_late(made, webhook).await;
        orders.insert(made.id(), order);
    }

    for (payment, written) in scene.written().await {
        assert_eq!(written, ALIKE, "{:?}", orders[&payment]);
    }
    assert_eq!(scene.world.count(ILLEGAL).await, 0);
    one_charge_each(&scene, &made).await;
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

#[test]
fn a_late_webhook_that_overwrites_a_final_state_is_noticed() {
    let test = "permutations::sixty_orders_at_nine_gateways_come_to_one_result";

    let printed = noticed("B11", test).unwrap();

    assert!(printed.contains("declined"), "{printed}");
}
