-- A day of a pool, for tests/benchmarks/test_dashboard_load.py, which sets day.now_ms, .users, .requests.
CREATE TEMPORARY TABLE day AS
SELECT
    current_setting('day.now_ms')::bigint AS now_ms,
    current_setting('day.users')::bigint AS users,
    current_setting('day.requests')::bigint AS requests;

INSERT INTO outcomes (request_id,user_id,tier,pool,service,at_ms,result,route,status,latency_ms,cold_ms,saved_ms,source)
SELECT 'r'||n, 'user-'||lpad(((n::bigint*7919)%(SELECT users FROM day))::text,6,'0'), CASE WHEN n%5=0 THEN 'gold' ELSE 'standard' END, 'default',
 'composite '||((n*31)%40), (SELECT now_ms FROM day) - 86400000 + (n*86400000.0/(SELECT requests FROM day))::bigint,
 (CASE WHEN n%50=0 THEN 'miss' WHEN n%23=0 THEN 'partial' ELSE 'hit' END)::request_result, 'preallocated',200,12+n%90,
 CASE WHEN n%50=0 THEN 4000 WHEN n%23=0 THEN 1500 ELSE 0 END, CASE WHEN n%50=0 THEN 0 ELSE 3500 END, 'gateway'
FROM generate_series(1,(SELECT requests FROM day)) n;
INSERT INTO outcome_parts (request_id,user_id,position,service,warm,instance_id,wait_ms,serve_ms,warm_up_ms)
SELECT 'r'||n, 'user-'||lpad(((n::bigint*7919)%(SELECT users FROM day))::text,6,'0'), k, 'part '||((n*31)%40+k*7), n%50<>0, 'i'||(n%(SELECT requests / 50 FROM day)), 0, 300, NULL
FROM generate_series(1,(SELECT requests FROM day)) n, generate_series(1,2) k;
INSERT INTO prediction_history (request_id,user_id,tier,pool,services,probabilities,within,unseen,horizon_ms,expected_p10_ms,expected_p50_ms,expected_p90_ms,made_ms,expires_ms,model)
SELECT request_id,user_id,tier,pool,
 ARRAY[service,'composite 1','composite 2','composite 3','composite 4','composite 5','composite 6','composite 7','composite 8','composite 9'],
 ARRAY[.5,.1,.1,.05,.05,.05,.04,.03,.03,.02]::float8[], ARRAY[.05,.02,.01,.01,.01,.01,.01,.01,.01,.01]::float8[], .03, 60000, 10000, 60000, 600000, at_ms, at_ms+3600000, 'm1'
FROM outcomes;
INSERT INTO predictions (user_id,request_id,tier,pool,services,probabilities,within,unseen,horizon_ms,expected_p10_ms,expected_p50_ms,expected_p90_ms,made_ms,expires_ms,model,kafka_offset)
SELECT DISTINCT ON (user_id) user_id,request_id,tier,pool,services,probabilities,within,unseen,horizon_ms,expected_p10_ms,expected_p50_ms,expected_p90_ms,made_ms,expires_ms,model,1 FROM prediction_history ORDER BY user_id, made_ms DESC;
INSERT INTO instances (instance_id,service,pool,state,endpoint,command_id,started_ms,changed_ms,warm_since_ms,gone_ms,uses,busy_ms,reason,kafka_offset)
SELECT 'i'||n,'part '||(n%55),'default',(CASE WHEN n > (SELECT requests / 50 - 200 FROM day) THEN (ARRAY['warm','busy','starting','warm'])[1+n%4] ELSE 'gone' END)::instance_state,'http://h:1','c'||n,
 (SELECT now_ms FROM day)-86400000+(n*4320000000/(SELECT requests FROM day)), (SELECT now_ms FROM day)-86400000+(n*4320000000/(SELECT requests FROM day))+4000, (SELECT now_ms FROM day)-86400000+(n*4320000000/(SELECT requests FROM day))+4000,
 CASE WHEN n > (SELECT requests / 50 - 200 FROM day) THEN NULL ELSE (SELECT now_ms FROM day)-86400000+(n*4320000000/(SELECT requests FROM day))+900000 END, 50, 20000,'',n
FROM generate_series(1,(SELECT requests / 50 FROM day)) n;
INSERT INTO commands (command_id,pool,action,service,count,tier,value,cost,priority,issued_ms,expires_ms,reason,kafka_offset)
SELECT 'c'||n,'default',(ARRAY['provision','release','queue'])[1+n%3]::command_action,'part '||(n%55),1,'gold',.5,.1,1,(SELECT now_ms FROM day)-86400000+(n*1728000000/(SELECT requests FROM day)),(SELECT now_ms FROM day)-86400000+(n*1728000000/(SELECT requests FROM day))+60000,'instance 2 is used within 60 s with probability 0.4: worth 0.5, costs 0.1',n
FROM generate_series(1,(SELECT requests / 20 FROM day)) n;
INSERT INTO verdicts (pool,service,at_ms,command_id,choice,mode,instance,have,chance,value,cost,bound,tier,price,horizon_ms,warm_up_ms,expected_services,expected_tiers,expected_requests,alternatives,alternative_values,alternative_costs)
SELECT 'default','part '||(n%55),(SELECT now_ms FROM day)-86400000+(n*864000000/(SELECT requests FROM day)),CASE WHEN n%2=0 THEN 'c'||(n/2) ELSE '' END,'keep','on',1,1,.5,.5,.1,'value','gold',.3,60000,4000,ARRAY['composite 1'],ARRAY['gold'],ARRAY[1.5]::float8[],ARRAY['give one back'],ARRAY[.1]::float8[],ARRAY[.5]::float8[]
FROM generate_series(1,(SELECT requests / 10 FROM day)) n;
INSERT INTO utilisation (pool,at_ms,cpu_capacity,cpu_used,memory_capacity,memory_used,bandwidth_capacity,bandwidth_used)
SELECT 'default',(SELECT now_ms FROM day)-86400000+n::bigint*1000,64000,40000,256000,120000,0,0 FROM generate_series(1,86400) n;
