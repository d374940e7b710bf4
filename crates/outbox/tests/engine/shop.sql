-- A small shop, for the tests of the engine.
create schema shop;

create table shop.orders (
    order_id     uuid primary key default gen_random_uuid(),
    announced_by uuid not null,
    announced_in xid8 not null default pg_current_xact_id()
);

-- What handlers did.
create table shop.handled (
    n        bigint generated always as identity primary key,
    consumer text   not null,
    worker   text   not null default current_setting('application_name'),
    event_id uuid   not null,
    key      uuid   not null,
    tick     bigint not null,
    id       bigint not null,
    at       timestamptz not null default clock_timestamp()
);

-- How often a statement was tried, whatever came of it: a sequence is not rolled back.
create sequence shop.tries;
create function shop.count_try() returns trigger language plpgsql as $$
begin
    perform nextval('shop.tries');
    return null;
end $$;

-- The sessions of this test: others run on the same server, under the same names.
create view shop.session as
    select * from pg_stat_activity where datname = current_database();

-- What is sent to a carrier: the intent, and its answer.
create table shop.parcel (
    event_id uuid primary key,
    key      uuid not null,
    n        bigint generated always as identity,
    answer   text
);
