package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Input files are read up to these sizes: a genesis of some thousand members is well below.
const (
	maximumConfigBytes  = 1 << 20
	maximumGenesisBytes = 16 << 20
)

// readLimited returns the content of a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than the %d bytes allowed", path, limit)
	}
	return content, nil
}

// writeDurably replaces a file by content at once: a crash leaves the old file or the new one.
func writeDurably(path string, content []byte, mode os.FileMode) (failure error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if failure != nil {
			failure = errors.Join(failure, os.Remove(temporary.Name()))
		}
	}()
	if err := temporary.Chmod(mode); err != nil {
		return errors.Join(err, temporary.Close())
	}
	if _, err := temporary.Write(content); err != nil {
		return errors.Join(err, temporary.Close())
	}
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// writeThrough replaces a file at once by what write, a library's function, writes at the path that it is given.
func writeThrough(path string, write func(path string)) error {
	directory, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }() // what a crash leaves there is never read
	written := filepath.Join(directory, filepath.Base(path))
	write(written)
	content, err := readLimited(written, maximumConfigBytes)
	if err != nil {
		return err
	}
	return writeDurably(path, content, 0o644)
}

// WriteNew writes a file that is not there yet, or has this content already; another one it replaces only if
// it is asked to.
func WriteNew(path string, content []byte, overwrite bool) error {
	if !overwrite {
		present, err := readLimited(path, maximumGenesisBytes)
		if err == nil && bytes.Equal(present, content) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists and has other content; name another file, or say --overwrite", path)
		}
	}
	return writeDurably(path, content, 0o644)
}

// CometURL returns the URL of a configured node's CometBFT RPC.
func CometURL(home string) (string, error) {
	_, comet, err := load(home)
	if err != nil {
		return "", err
	}
	return strings.Replace(comet.RPC.ListenAddress, "tcp://", "http://", 1), nil
}

// GenesisSHA256 returns the digest of a configured node's genesis file, to compare between organisations.
func GenesisSHA256(home string) (string, error) {
	genesis, err := readLimited(filepath.Join(home, "config", "genesis.json"), maximumGenesisBytes)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(genesis)
	return hex.EncodeToString(digest[:]), nil
}
