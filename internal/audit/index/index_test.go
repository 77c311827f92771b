package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	mrand "math/rand/v2"
	"slices"
	"testing"
)

// world is an index and what it was made of.
type world struct {
	file   []byte
	blocks []Block
	times  [][2]int64
	terms  []map[uint16]bool // of each block
}

func build(t testing.TB, seed uint64, blocks int) world {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(seed, 1))
	b := NewBuilder([8]byte{1}, 1000)
	var w world
	next, off := uint64(1000), int64(0)
	for range blocks {
		b.Block(off)
		w.blocks = append(w.blocks, Block{First: next, Off: off})
		seen := map[uint16]bool{}
		span := [2]int64{1 << 62, -1 << 62}
		for range 1 + rnd.IntN(20) {
			at := int64(next)*100 + int64(rnd.IntN(300))
			b.Add(at)
			span = [2]int64{min(span[0], at), max(span[1], at)}
			for range rnd.IntN(4) {
				term := uint16(min(rnd.IntN(2000), rnd.IntN(2000)))
				b.Term(byte(term%7), binary.BigEndian.AppendUint16(nil, term))
				seen[term] = true
			}
			next++
		}
		w.terms, w.times = append(w.terms, seen), append(w.times, span)
		w.blocks[len(w.blocks)-1].Next = next
		b.Batch(off, [32]byte{2})
		off += 512 * int64(1+rnd.IntN(200))
	}
	w.file = b.Finish()
	return w
}

func term(n uint16) Term { return Term{byte(n % 7), binary.BigEndian.AppendUint16(nil, n)} }

// TestAnIndexNeverNamesABlockTooFew asks for combinations of terms and times, over indexes of one block and of many.
func TestAnIndexNeverNamesABlockTooFew(t *testing.T) {
	for _, n := range []int{1, 7, 64, 65, 700} {
		w := build(t, uint64(n), n)
		src := bytes.NewReader(w.file)
		h, err := ReadHeader(src)
		if err != nil {
			t.Fatal(err)
		}
		if h.Size() != int64(len(w.file)) || h.First != 1000 || h.Next != w.blocks[n-1].Next || h.LastHash != [32]byte{2} || h.LastOff != w.blocks[n-1].Off || h.Tag != [8]byte{1} {
			t.Fatalf("%d blocks: header %+v", n, h)
		}
		rnd := mrand.New(mrand.NewPCG(9, 9))
		extra, asked := 0, 0
		for range 400 {
			var lists [][]Term
			var want [][]uint16
			for range rnd.IntN(3) {
				var list []Term
				var of []uint16
				for range 1 + rnd.IntN(2) {
					one := uint16(rnd.IntN(2500))
					list, of = append(list, term(one)), append(of, one)
				}
				lists, want = append(lists, list), append(want, of)
			}
			since, until := int64(-1<<63), int64(1<<63-1)
			if rnd.IntN(2) == 0 {
				since = 100_000 + rnd.Int64N(int64(h.Next-1000)*100)
				until = since + rnd.Int64N(20_000)
			}
			got, err := h.Find(src, since, until, lists...)
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range w.blocks {
				fits := w.times[i][1] >= since && w.times[i][0] < until
				for _, of := range want {
					fits = fits && slices.ContainsFunc(of, func(n uint16) bool { return w.terms[i][n] })
				}
				named := slices.Contains(got, b)
				if fits && !named {
					t.Fatalf("%d blocks: block %d is not named for %v from %d to %d", n, i, want, since, until)
				}
				asked++
				if named && !fits {
					extra++
				}
			}
		}
		if extra > asked/1000 {
			t.Errorf("%d blocks: %d of %d are named for nothing", n, extra, asked)
		}
	}
}

// TestADamagedIndexIsRefused flips each bit of an index: whatever it still answers is what it answered before.
func TestADamagedIndexIsRefused(t *testing.T) {
	w := build(t, 3, 20)
	asks := []uint16{1, 2, 3, 50, 100, 2400}
	answer := func(file []byte) (all []Block, err error) {
		src := bytes.NewReader(file)
		h, err := ReadHeader(src)
		for i := 0; i < len(asks) && err == nil; i++ {
			var some []Block
			some, err = h.Find(src, -1<<63, 1<<63-1, []Term{term(asks[i])})
			all = append(all, some...)
		}
		return all, err
	}
	want, err := answer(w.file)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 8 * len(w.file) {
		w.file[i/8] ^= 1 << (i % 8)
		got, err := answer(w.file)
		w.file[i/8] ^= 1 << (i % 8)
		switch {
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Fatalf("bit %d: got %v want %v", i, err, ErrDamaged)
		case err != nil:
			refused++
		case !slices.Equal(got, want):
			t.Fatalf("bit %d: another answer, and no error", i)
		}
	}
	if refused < 8*pageSize {
		t.Errorf("%d bits of %d were noticed", refused, 8*len(w.file))
	}
}

// FuzzIndex reads whatever there is, past the checksums.
func FuzzIndex(f *testing.F) {
	f.Add(build(f, 1, 30).file, uint16(3))
	f.Add(build(f, 2, 1).file, uint16(50))
	f.Fuzz(func(t *testing.T, file []byte, n uint16) {
		if len(file) < pageSize || len(file) > 1<<20 {
			return
		}
		salt := [16]byte(file[32:])
		for i := 0; (i+1)*pageSize <= len(file); i++ {
			page := file[i*pageSize:][:pageSize]
			binary.BigEndian.PutUint32(page[pageData:], sum(int64(i), salt, page[:pageData]))
		}
		src := bytes.NewReader(file)
		h, err := ReadHeader(src)
		if err != nil {
			return
		}
		blocks, err := h.Find(src, -1<<63, 1<<63-1, []Term{term(n)})
		if err == nil && len(blocks) > MaxBlocks {
			t.Fatalf("%d blocks", len(blocks))
		}
		_, _ = h.Find(src, 0, 1<<62)
	})
}
