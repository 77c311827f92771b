package envelope

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyhold/keyhold/client"
)

// Limits of a Cache. Zero values are the defaults.
type Limits struct {
	Age   time.Duration // of a data key; default DefaultAge, at most MaxAge
	Files int           // that one data key serves; default DefaultFiles, at most MaxFiles
	Bytes int64         // of plaintext under one data key, counted when a file ends; default DefaultBytes
	Keys  int           // data keys that are kept; default DefaultKeys, at most MaxKeys
}

// Defaults and greatest values of Limits.
const (
	DefaultAge   = 5 * time.Minute
	MaxAge       = 24 * time.Hour
	DefaultFiles = 1000
	MaxFiles     = 1 << 20
	DefaultBytes = 64 << 30
	DefaultKeys  = 100
	MaxKeys      = 10_000
)

// Cache lets files share data keys, so that many small files need few requests to the server. It is for one client, and safe
// for concurrent use.
//
// Its price: within the limits of a data key, the server neither sees nor can refuse the single file; a key that is disabled or
// a right that is taken away still works here for as long as Limits.Age. Data keys are shared only by files of the same key
// and the same encryption context; each file has a file key of its own all the same.
type Cache struct {
	keys   Keys
	limits Limits

	mu      sync.Mutex
	entries map[string]*cached // guarded by mu; by what was asked for
}

// cached is one data key. It is guarded by the cache's mu.
type cached struct {
	out   client.GenerateDataKeyOutput
	born  time.Time
	files int
	bytes int64
	timer *time.Timer
}

// NewCache makes a cache for a client.
func NewCache(keys Keys, limits Limits) (*Cache, error) {
	if limits.Age < 0 || limits.Age > MaxAge || limits.Files < 0 || limits.Files > MaxFiles || limits.Bytes < 0 || limits.Keys < 0 || limits.Keys > MaxKeys {
		return nil, optionsf("limits of a cache: at most %s, %d files and %d keys, and none below 0", MaxAge, MaxFiles, MaxKeys)
	}
	if keys == nil {
		return nil, optionsf("a cache needs a client")
	}
	if limits.Age == 0 {
		limits.Age = DefaultAge
	}
	if limits.Files == 0 {
		limits.Files = DefaultFiles
	}
	if limits.Bytes == 0 {
		limits.Bytes = DefaultBytes
	}
	if limits.Keys == 0 {
		limits.Keys = DefaultKeys
	}
	return &Cache{keys: keys, limits: limits, entries: map[string]*cached{}}, nil
}

// slot names what was asked for.
func slot(kind byte, key string, blob []byte, c client.Context) string {
	h := sha256.New()
	add := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	h.Write([]byte{kind})
	add([]byte(key))
	add(blob)
	for _, name := range slices.Sorted(maps.Keys(c)) {
		add([]byte(name))
		add([]byte(c[name]))
	}
	return string(h.Sum(nil))
}

// take answers a data key that is kept, if it may serve one file more.
func (c *Cache) take(at string) (client.GenerateDataKeyOutput, func(int64), bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[at]
	if e == nil {
		return client.GenerateDataKeyOutput{}, nil, false
	}
	if e.files >= c.limits.Files || e.bytes >= c.limits.Bytes || time.Since(e.born) >= c.limits.Age {
		c.drop(at)
		return client.GenerateDataKeyOutput{}, nil, false
	}
	e.files++
	return e.copy(), c.counter(e), true
}

// copy is what a caller erases after use.
func (e *cached) copy() client.GenerateDataKeyOutput {
	out := e.out
	out.Plaintext = bytes.Clone(out.Plaintext)
	return out
}

// counter counts the bytes of a file.
func (c *Cache) counter(e *cached) func(int64) {
	return func(n int64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.bytes += n
	}
}

// put keeps a data key, which has served one file.
func (c *Cache) put(at string, out client.GenerateDataKeyOutput) func(int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(at)
	for len(c.entries) >= c.limits.Keys {
		oldest := ""
		for name, e := range c.entries {
			if oldest == "" || e.born.Before(c.entries[oldest].born) {
				oldest = name
			}
		}
		c.drop(oldest)
	}
	e := &cached{out: out, born: time.Now(), files: 1}
	e.out.Plaintext = bytes.Clone(out.Plaintext)
	e.timer = time.AfterFunc(c.limits.Age, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.entries[at] == e {
			c.drop(at)
		}
	})
	c.entries[at] = e
	return c.counter(e)
}

// drop erases a data key. The caller holds mu.
func (c *Cache) drop(at string) {
	if e := c.entries[at]; e != nil {
		e.timer.Stop()
		clear(e.out.Plaintext)
		delete(c.entries, at)
	}
}

func (c *Cache) generate(ctx context.Context, in client.GenerateDataKeyInput, options []client.Option) (client.GenerateDataKeyOutput, func(int64), error) {
	at := slot('g', in.Key, nil, in.Context)
	if out, used, ok := c.take(at); ok {
		return out, used, nil
	}
	out, err := c.keys.GenerateDataKey(ctx, in, options...)
	if err != nil {
		return out, nil, err
	}
	return out, c.put(at, out), nil
}

func (c *Cache) decrypt(ctx context.Context, in client.DecryptInput, options []client.Option) (client.DecryptOutput, error) {
	at := slot('d', in.Key, in.Ciphertext, in.Context)
	if out, _, ok := c.take(at); ok {
		return client.DecryptOutput{Plaintext: out.Plaintext, KeyID: out.KeyID, Version: out.Version}, nil
	}
	out, err := c.keys.Decrypt(ctx, in, options...)
	if err == nil {
		c.put(at, client.GenerateDataKeyOutput{Plaintext: out.Plaintext, KeyID: out.KeyID, Version: out.Version})
	}
	return out, err
}

// Close erases all data keys. The cache can still be used.
func (c *Cache) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.entries {
		c.drop(at)
	}
}
