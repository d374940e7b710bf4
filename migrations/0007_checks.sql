-- Why: checks run by themselves, and what they find is told once: here stands how each check came
-- out last, and how much of it was told. And a transfer, once posted, stays as it is.

create table billing.check_result (
    code       text        primary key,
    violations bigint      not null,
    -- The first of the rows that violate it.
    rows       jsonb       not null,
    checked_at timestamptz not null,
    took_ms    bigint      not null,
    -- Of a check that is violated: the key of the events that tell of it, since when, and of how
    -- many rows was told at most.
    finding_id uuid,
    found_at   timestamptz,
    told       bigint,
    constraint check_result_counts         check (violations >= 0 and took_ms >= 0),
    constraint check_result_finding_is_one check (
        num_nulls(finding_id, found_at, told) = case when violations > 0 then 0 else 3 end
    )
);

create function billing.refuse_rewriting() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'what is posted stays (% of %)', lower(tg_op), tg_relid::regclass
        using errcode = 'restrict_violation',
              hint = 'Correct it with another transfer.';
end $$;
create trigger transfer_kept before update or delete on billing.transfer
    for each row execute function billing.refuse_rewriting();
create trigger transfer_stays before truncate on billing.transfer
    for each statement execute function billing.refuse_removal();
