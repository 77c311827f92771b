package seal

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// AbandonEpochs moves aside what an interrupted initialisation left in the epochs' directories. Call it only where the
// store has no configuration: then nothing can be wrapped under these epochs. Nothing is deleted.
func AbandonEpochs(d Dirs, now time.Time) error {
	for _, dir := range []string{d.Shred, d.Escrow} {
		entries, err := os.ReadDir(dir)
		if os.IsNotExist(err) || err == nil && len(entries) == 0 {
			continue
		}
		if err != nil {
			return unusable(dir, err)
		}
		aside := fmt.Sprintf("%s.abandoned-%s", filepath.Clean(dir), now.UTC().Format("20060102T150405.000000000"))
		if err := os.Rename(dir, aside); err != nil {
			return unusable(dir, err)
		}
	}
	return nil
}
