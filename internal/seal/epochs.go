package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// MaxEpochs is how many epochs may be live at once: old ones are to be retired.
const MaxEpochs = 64

// Dirs are the places of the epoch KEKs: outside the store, and outside ordinary backups.
type Dirs struct {
	Shred  string // the epoch KEKs, sealed by the root key
	Escrow string // copies sealed to the recipients, for a small backup with a short retention of its own
}

// Epochs are the epoch KEKs, under which shred secrets are wrapped. Destroying an epoch KEK makes unreadable, in every
// old page, log and backup of the store, whatever was not wrapped again under a later one.
//
// One process at a time may use a directory: the caller sees to that. It is safe for concurrent use otherwise.
type Epochs struct {
	dirs Dirs
	disk disk

	change sync.Mutex // held by whoever changes files; guards root and dying
	root   *Root
	dying  map[uint32]bool // retired, and not yet known to be destroyed to the end

	mu   sync.RWMutex // guards live
	live map[uint32]*epoch
}

// EpochInfo describes one live epoch.
type EpochInfo struct {
	Number     uint32
	Created    time.Time
	Generation uint32 // of the root key that seals its file
	Current    bool   // new shred secrets are wrapped under it
}

// CreateEpochs makes the directories and the first epoch, for a store that has none. Call it after the configuration was
// stored: an epoch of a root key that nobody has helps nobody.
// Errors: CodeInitialised if there are epochs, CodeBadSetting, CodeRecordDamaged.
func CreateEpochs(d Dirs, r *Root, c *Config, now time.Time) (*Epochs, error) {
	return createEpochs(disk{}, d, r, c, now)
}

func createEpochs(on disk, d Dirs, r *Root, c *Config, now time.Time) (*Epochs, error) {
	e := &Epochs{dirs: d, disk: on, root: r, dying: make(map[uint32]bool), live: make(map[uint32]*epoch)}
	for _, dir := range []string{d.Shred, d.Escrow} {
		if err := on.mkdir(dir); err != nil {
			return nil, unusable(dir, err)
		}
	}
	names, err := on.names(d.Shred)
	if err != nil {
		return nil, unusable(d.Shred, err)
	}
	for _, name := range names {
		if _, ok := parseEpochName(name, epochSuffix); ok {
			return nil, kms.Errorf(kms.CodeInitialised, "there is an epoch KEK already: %s", filepath.Join(d.Shred, name))
		}
	}
	if _, err := e.Roll(c, now); err != nil {
		return nil, err
	}
	return e, nil
}

// OpenEpochs opens every epoch, after finishing a retirement that was interrupted. newest is the newest epoch that rows
// are known to be under, 0 if there are no rows: if its KEK is missing, those rows cannot be opened, and it says so.
// Errors: CodeNotFound if there is no epoch at all and newest is 0; CodeRecordDamaged, naming the file that is missing or
// damaged; CodeBadSetting if others may read the files.
func OpenEpochs(d Dirs, r *Root, newest uint32) (*Epochs, error) {
	return openEpochs(disk{}, d, r, newest)
}

func openEpochs(on disk, d Dirs, r *Root, newest uint32) (*Epochs, error) {
	e := &Epochs{dirs: d, disk: on, root: r, dying: make(map[uint32]bool), live: make(map[uint32]*epoch)}
	for _, dir := range []string{d.Shred, d.Escrow} {
		if err := on.mkdir(dir); err != nil {
			return nil, unusable(dir, err)
		}
	}
	names, err := on.names(d.Shred)
	if err != nil {
		return nil, unusable(d.Shred, err)
	}
	if err := e.load(names); err != nil {
		e.Zero()
		return nil, err
	}
	if _, ok := e.live[newest]; newest != 0 && !ok {
		e.Zero()
		return nil, missing(d, newest)
	}
	if len(e.live) == 0 {
		return nil, kms.Errorf(kms.CodeNotFound, "there is no epoch KEK in %s", d.Shred)
	}
	if err := e.tidy(names); err != nil {
		e.Zero()
		return nil, unusable(d.Shred, err)
	}
	return e, nil
}

// load opens the epochs among the files of a directory that are not live yet: all of them at the start, and later those
// whose making was reported as failed, because it was not known to be durable, and which are there all the same. So a
// number never names two keys, and no file is forgotten by a rotation.
func (e *Epochs) load(names []string) error {
	for _, name := range names {
		number, ok := parseEpochName(name, epochSuffix)
		e.mu.RLock()
		have, count := e.live[number] != nil, len(e.live)
		e.mu.RUnlock()
		if !ok || have {
			continue
		}
		if count >= MaxEpochs {
			return kms.Errorf(kms.CodeTooLarge, "%s holds more than %d epochs", e.dirs.Shred, MaxEpochs)
		}
		one, err := e.root.readEpoch(e.disk, e.dirs.Shred, number)
		if err != nil {
			return err
		}
		e.mu.Lock()
		e.live[number] = one
		e.mu.Unlock()
	}
	return nil
}

// reload is load over the directory as it is now.
func (e *Epochs) reload() error {
	names, err := e.disk.names(e.dirs.Shred)
	if err != nil {
		return unusable(e.dirs.Shred, err)
	}
	return e.load(names)
}

// tidy finishes what was interrupted: half-written files go, and retired epochs are destroyed to the end.
func (e *Epochs) tidy(names []string) error {
	escrows, err := e.disk.names(e.dirs.Escrow)
	if err != nil {
		return err
	}
	for dir, names := range map[string][]string{e.dirs.Shred: names, e.dirs.Escrow: escrows} {
		for _, name := range names {
			if strings.HasPrefix(name, "epoch-") && strings.HasSuffix(name, tmpSuffix) {
				if err := e.disk.destroy(filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	for _, name := range names {
		if number, ok := parseEpochName(name, retiredSuffix); ok {
			if err := e.bury(number); err != nil {
				return err
			}
		}
	}
	return nil
}

func missing(d Dirs, number uint32) error {
	e := kms.Errorf(kms.CodeRecordDamaged, "the epoch KEK %s is missing, and keys in the store depend on it", filepath.Join(d.Shred, epochName(number, epochSuffix)))
	e.Next = "restore it from its escrow copy (" + epochName(number, escrowSuffix) + ") with the secret of any recipient of the root key"
	return e
}

// unusable names a file or directory that is in the way.
func unusable(path string, cause error) error {
	if errors.Is(cause, errOpenToOthers) {
		e := kms.Errorf(kms.CodeBadSetting, "others may read %s", path).Because(cause)
		e.Next = "chmod go= " + path
		return e
	}
	if k := (*kms.Error)(nil); errors.As(cause, &k) {
		return k
	}
	if io := (*fs.PathError)(nil); errors.As(cause, &io) {
		return kms.Errorf(kms.CodeStoreUnavailable, "%s cannot be used: %v", path, io.Err).Because(cause)
	}
	return kms.Errorf(kms.CodeRecordDamaged, "%s cannot be used: %v", path, cause).Because(cause)
}

// Current is the epoch under which new shred secrets are wrapped.
func (e *Epochs) Current() uint32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.current()
}

func (e *Epochs) current() uint32 {
	var most uint32
	for n := range e.live {
		most = max(most, n)
	}
	return most
}

// List describes the live epochs, oldest first.
func (e *Epochs) List() []EpochInfo {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []EpochInfo
	for _, n := range slices.Sorted(maps.Keys(e.live)) {
		one := e.live[n]
		out = append(out, EpochInfo{Number: n, Created: one.created, Generation: one.generation, Current: n == e.current()})
	}
	return out
}

// Before lists the epochs below a number of which anything is left, oldest first: live ones, and retired ones that are not known to be destroyed to the
// end.
func (e *Epochs) Before(number uint32) []uint32 {
	e.change.Lock()
	defer e.change.Unlock()
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []uint32
	for n := range e.live {
		if n < number {
			out = append(out, n)
		}
	}
	for n := range e.dying {
		if n < number {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// Oldest is the oldest epoch of which anything is left. What was wrapped under older ones only cannot be opened any more.
func (e *Epochs) Oldest() uint32 {
	current := e.Current()
	if older := e.Before(current); len(older) > 0 {
		return older[0]
	}
	return current
}

// Roll makes a new epoch, first its escrow copy and then its file, and wraps new shred secrets under it from then on. The
// old epochs stay readable. It answers the new epoch's number.
// Errors: CodeTooLarge, CodeRecordDamaged, CodeStoreUnavailable; the current epoch is the one before then.
func (e *Epochs) Roll(c *Config, now time.Time) (uint32, error) {
	e.change.Lock()
	defer e.change.Unlock()
	if err := e.root.Verify(c); err != nil {
		return 0, err
	}
	if err := e.reload(); err != nil {
		return 0, err
	}
	e.mu.RLock()
	number, live := e.current()+1, len(e.live)
	e.mu.RUnlock()
	if live >= MaxEpochs {
		return 0, kms.Errorf(kms.CodeTooLarge, "%d epochs are live, the limit is %d: re-wrap their rows and retire old ones", live, MaxEpochs)
	}
	next, err := newEpoch(number, now, e.root.memory.Keep(secret.Random(box.KeySize)))
	if err != nil {
		return 0, kms.Errorf(kms.CodeInternal, "the epoch KEK could not be made").Because(err)
	}
	err = e.escrow(c, next)
	if err == nil {
		err = e.put(e.root, next)
	}
	if err != nil {
		next.raw.Zero()
		return 0, unwritten("the new epoch", err)
	}
	e.mu.Lock()
	e.live[number] = next
	e.mu.Unlock()
	return number, nil
}

// put writes an epoch's file under the newest generation of a root.
func (e *Epochs) put(r *Root, one *epoch) error {
	data, err := r.sealEpoch(one)
	if err != nil {
		return err
	}
	if err := e.disk.write(filepath.Join(e.dirs.Shred, epochName(one.number, epochSuffix)), data); err != nil {
		return err
	}
	e.mu.Lock()
	one.generation = r.Generation()
	e.mu.Unlock()
	return nil
}

func unwritten(what string, cause error) error {
	if k := (*kms.Error)(nil); errors.As(cause, &k) {
		return k
	}
	return kms.Errorf(kms.CodeStoreUnavailable, "%s could not be written", what).Because(cause)
}

// Retire destroys an old epoch KEK and its escrow copy. rows is how many rows are still under it, counted at a confirmed
// head of the store; it refuses unless that is 0. Interrupted, it is finished by repeating it or by the next open.
// Errors: CodeConflict, CodeNotFound, CodeStoreUnavailable.
//
// What this promises: the file is overwritten, cut, unlinked and synced, so that nothing on this file system names the key.
// What it cannot promise: that a disk which writes elsewhere (flash, copy-on-write, snapshots) or a copy that somebody
// took holds no residue. Such a residue is sealed by the root key: it opens only for who has that generation of the root
// too, and rotating the root key ends that. Escrow copies that left the machine end with their own retention.
func (e *Epochs) Retire(number uint32, rows int) error {
	e.change.Lock()
	defer e.change.Unlock()
	from := filepath.Join(e.dirs.Shred, epochName(number, epochSuffix))
	to := filepath.Join(e.dirs.Shred, epochName(number, retiredSuffix))
	e.mu.RLock()
	one, current := e.live[number], e.current()
	e.mu.RUnlock()
	switch {
	case one == nil && !e.dying[number]:
		return kms.Errorf(kms.CodeNotFound, "there is no epoch %d", number)
	case number == current:
		return kms.Errorf(kms.CodeConflict, "epoch %d is the current one: roll first", number)
	case rows != 0:
		return kms.Errorf(kms.CodeConflict, "%d shred secrets are still under epoch %d: re-wrap them first", rows, number)
	}
	if one != nil {
		// From the renaming on the epoch is retired, whatever happens to this process.
		if err := e.disk.rename(from, to); err != nil && (e.disk.exists(from) || !e.disk.exists(to)) {
			return unwritten(fmt.Sprintf("the retirement of epoch %d", number), err)
		}
		e.dying[number] = true
		e.mu.Lock()
		delete(e.live, number)
		one.raw.Zero()
		e.mu.Unlock()
	}
	if err := e.bury(number); err != nil {
		return unwritten(fmt.Sprintf("the retirement of epoch %d", number), err)
	}
	delete(e.dying, number)
	return nil
}

// bury destroys what is left of a retired epoch: the escrow copy first, so that the mark stays until all is gone.
func (e *Epochs) bury(number uint32) error {
	copied := filepath.Join(e.dirs.Escrow, epochName(number, escrowSuffix))
	for _, path := range []string{copied + tmpSuffix, copied} {
		if err := e.disk.destroy(path); err != nil {
			return err
		}
	}
	return e.disk.destroy(filepath.Join(e.dirs.Shred, epochName(number, retiredSuffix)))
}

// RewrapRoot brings every epoch's file and escrow copy under a root's newest generation, and uses that root from then on,
// whether it succeeds or not.
// It can be repeated after a crash. Errors: CodeRecordDamaged, CodeStoreUnavailable.
func (e *Epochs) RewrapRoot(r *Root, c *Config) error {
	e.change.Lock()
	defer e.change.Unlock()
	if err := r.Verify(c); err != nil {
		return err
	}
	e.root = r // it holds the generation before too, and the caller may erase the root before
	if err := e.reload(); err != nil {
		return err
	}
	for _, one := range e.sorted() {
		err := error(nil)
		if one.generation != r.Generation() {
			err = e.put(r, one)
		}
		if err == nil {
			err = e.escrow(c, one)
		}
		if err != nil {
			return unwritten(fmt.Sprintf("epoch %d under root generation %d", one.number, r.Generation()), err)
		}
	}
	return nil
}

// Left counts the epoch files that are not under the newest generation of a root: what a rotation has still to do.
func (e *Epochs) Left(r *Root) int {
	n := 0
	for _, i := range e.List() {
		if i.Generation != r.Generation() {
			n++
		}
	}
	return n
}

func (e *Epochs) sorted() []*epoch {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []*epoch
	for _, n := range slices.Sorted(maps.Keys(e.live)) {
		out = append(out, e.live[n])
	}
	return out
}

// Zero erases the epoch KEKs in memory.
func (e *Epochs) Zero() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.live {
		one.raw.Zero()
	}
}
