-- X1: the server keeps what it has acknowledged
select name, setting
from pg_settings
where (name in ('fsync', 'full_page_writes') and setting <> 'on')
    or (name = 'synchronous_commit' and setting = 'off')
    or (name in ('zero_damaged_pages', 'ignore_checksum_failure') and setting = 'on')
