package audit

import (
	"sync"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// maxListed bounds the boot epochs whose lists of segments are remembered.
const maxListed = 256

// catalog remembers which segments the boot epochs have, so that reading one record does not list a folder. Whoever adds or removes a segment says so.
type catalog struct {
	mu    sync.Mutex // guards the fields below
	lists map[string]listed
	turns uint64 // how often something was forgotten
}

// listed is what an epoch's folder holds.
type listed struct {
	files []segment.File
	gone  *Retired // nil: nothing was dropped
}

// segments gives the segments of an epoch's folder, in order. The list is not to be changed.
func (c *catalog) segments(dir string) ([]segment.File, error) {
	all, err := c.list(dir)
	return all.files, err
}

// gone tells what was dropped of an epoch; nil: nothing.
func (c *catalog) gone(dir string) (*Retired, error) {
	all, err := c.list(dir)
	return all.gone, err
}

func (c *catalog) list(dir string) (listed, error) {
	c.mu.Lock()
	all, known := c.lists[dir]
	turn := c.turns
	c.mu.Unlock()
	if known {
		return all, nil
	}
	files, gone, _, err := LiveSegments(dir)
	if err != nil {
		return listed{}, err
	}
	all = listed{files, gone}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == turn { // otherwise what was read may be old already
		if c.lists == nil || len(c.lists) >= maxListed {
			c.lists = map[string]listed{}
		}
		c.lists[dir] = all
	}
	return all, nil
}

// forget is called when an epoch's segments have changed.
func (c *catalog) forget(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	delete(c.lists, dir)
}
