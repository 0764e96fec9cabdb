// Drives a cluster with ioredis: node ioredis_cluster.js PORT... ; prints "all done", or the error and exits 1.
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');

async function main() {
  const cluster = new Redis.Cluster(
      process.argv.slice(2).map((port) => ({host: '127.0.0.1', port: Number(port)})),
      {redisOptions: {commandTimeout: 10000}});
  try {
    await Promise.all([...Array(500).keys()].map((i) => cluster.set(`io:${i}`, `value-${i}`)));
    const values = await Promise.all([...Array(500).keys()].map((i) => cluster.get(`io:${i}`)));
    values.forEach((value, i) => assert.strictEqual(value, `value-${i}`));

    await cluster.hset('{io}hash', 'a', '1', 'b', '2');
    assert.deepStrictEqual(await cluster.hgetall('{io}hash'), {a: '1', b: '2'});
    const results = await cluster.multi().set('{io}n', '1').incr('{io}n').get('{io}n').exec();
    assert.deepStrictEqual(results, [[null, 'OK'], [null, 2], [null, '2']]);
    const pipelined = await cluster.pipeline().set('{io}x', '1').append('{io}x', '2').get('{io}x').exec();
    assert.deepStrictEqual(pipelined.map(([, value]) => value), ['OK', 2, '12']);
    assert.strictEqual(await cluster.set('{io}ttl', '1', 'PX', 50), 'OK');
    await new Promise((resolve) => setTimeout(resolve, 120));
    assert.strictEqual(await cluster.get('{io}ttl'), null);
    await assert.rejects(cluster.incr('{io}hash'), /WRONGTYPE/);
    assert.strictEqual(cluster.nodes('master').length > 0, true);
    const buffer = Buffer.from([...Array(256).keys()]);
    await cluster.set('{io}buffer', buffer);
    assert.deepStrictEqual(await cluster.getBuffer('{io}buffer'), buffer);

    // scaleReads is not tried: ioredis sends READONLY only to processes that lead nothing, and here all do.
  } finally {
    cluster.disconnect();
  }
}

main().then(
    () => {
      console.log('all done');
      process.exit(0);  // the timers of commandTimeout would keep the process for their ten seconds
    },
    (error) => {
      console.error(error);
      process.exit(1);
    });
