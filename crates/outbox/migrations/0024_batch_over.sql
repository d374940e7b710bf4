-- Why: what the handler of a member appends belongs to the batch. When a dead letter is redriven
-- after the end, or a call that nobody waited for any more comes back with its answer, the batch is
-- over: that must not undo what is recorded there, so it is appended and not waited for.
create or replace function outbox.join_batch(joined uuid, own_lane smallint, follows boolean)
returns void language plpgsql set search_path = pg_catalog as $$
declare
    found_batch record;
begin
    select state, lane, wave into found_batch
    from outbox.batch where batch_id = joined for key share;
    if found_batch.state is null then
        raise exception 'there is no batch %: open it in an earlier or the same transaction', joined
            using errcode = 'check_violation', constraint = 'batch_is_open';
    elsif found_batch.lane <> own_lane then
        raise exception 'batch % is in the other lane: its members go where it was opened', joined
            using errcode = 'check_violation', constraint = 'batch_lane_is_its_own';
    elsif found_batch.state = 'sealed' and follows then
        insert into outbox.batch_wave (batch_id, wave) values (joined, found_batch.wave + 1)
        on conflict do nothing;
    elsif found_batch.state <> 'open' and not follows then
        raise exception 'batch % is %: it takes no more members', joined, found_batch.state
            using errcode = 'check_violation', constraint = 'batch_is_open',
                  hint = 'Open another batch; only its members'' handlers add to a sealed one.';
    end if;
end $$;
