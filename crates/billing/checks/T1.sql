-- T1: an account's periods follow one another without a gap, a month each
select account_id, seq, month, start_at, end_at, expected_seq, expected_start
from (
    select account_id, seq, month, start_at, end_at,
        row_number() over periods - 1 as expected_seq,
        lag(end_at) over periods as expected_start,
        lag(month) over periods as month_before
    from billing.period
    window periods as (partition by account_id order by seq)
) as chain
where seq <> expected_seq or start_at is null or end_at is null or start_at >= end_at
    or start_at <> coalesce(expected_start, start_at)
    or month <> coalesce(month_before + interval '1 month', month)
