"""What happens when ...: one row per fault, from which ci/pages/what_went_wrong.md has its table. Tests name the rows.

``python ci/faults_table.py`` writes the table; a test carries ``@pytest.mark.row(n, ...)``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """``when`` a fault occurs, ``answer`` is what the user gets; ``code`` the exit code, "" where a run goes on."""

    number: int
    when: str
    answer: str
    code: str = ""


ROWS = (
    Row(1, "an image file is truncated", "error before training, naming case, file, cause and remedy", "3"),
    Row(2, "a file is empty, or a web page called .nii.gz", "the same error", "3"),
    Row(3, "files are missing", "one error before training that lists them all", "3"),
    Row(4, "a voxel is NaN or infinite", "error; `repair` sets such voxels to 0 and counts them", "3"),
    Row(5, "a volume is constant", "warning with case and file"),
    Row(6, "a modality lies on another grid", "resampled where the bundle says so, else a geometry error", "3 or none"),
    Row(7, "a modality has another number of voxels", "the same", "3 or none"),
    Row(8, "a label lies on another grid than its image", "error", "3"),
    Row(9, "an affine is singular or not finite", "error", "3"),
    Row(10, "a file is 4-D where 3-D is expected", "error; accepted where one file may hold all modalities", "3"),
    Row(11, "a file is 2-D", "error", "3"),
    Row(12, "a scan is smaller than the network's patch", "resized or padded, and the prediction put back on its grid"),
    Row(13, "a label holds other values than it may", "error with the values found and allowed", "3"),
    Row(14, "no case has any foreground", "error or warning that counts the cases", "3 or none"),
    Row(15, "a case has no lesion, or nothing is predicted", "the metric's documented policy; `n` counts what entered"),
    Row(16, "a stacked file holds too few or too many modalities", "error naming the modalities expected", "3"),
    Row(17, "modalities are swapped or in another unit", "warning: value ranges and file names do not fit the key"),
    Row(18, "a modality is missing", "error naming modality and case", "3"),
    Row(19, "a datalist leads out of the data folder", "error, unless `allow_outside`", "3"),
    Row(20, "an id occurs twice, a patient is in two splits, a section is empty", "error", "3"),
    Row(21, "weights or a checkpoint hold pickled code", "error; nothing of it is run", "4"),
    Row(22, "a checkpoint is truncated", "resuming takes the previous one; weights: error", "4 or none"),
    Row(23, "weights do not match the network", "error that counts matched, missing and unexpected parameters", "4"),
    Row(24, "the loss is not finite", "the run ends, the last good checkpoint stays", "5"),
    Row(25, "the disk is full", "error naming the file; what was there before stays whole", "2 or 4"),
    Row(26, "a run is killed at any moment", "`--resume true` ends at the uninterrupted run's weights and files (CPU)"),
    Row(27, "a finished run is resumed", "it says so and changes nothing; what is missing is written again"),
    Row(28, "an override or option is misspelt", "error naming the nearest; nothing is run", "2"),
    Row(29, "a config holds a key twice", "`ci/lint` fails"),
    Row(30, "a config calls code outside the allow-list", "`ci/lint` fails, evaluating nothing"),
    Row(31, "PET lacks what SUV needs; DWI lacks a b-value", "error, never a default", "3"),
    Row(32, "a cached file is damaged", "computed again, with a warning"),
    Row(33, "two runs write one folder or file", "the second one stops at once and names the process", "2"),
    Row(34, "writing the phantom is interrupted", "the next run does not take it for whole"),
    Row(35, "an output folder cannot be written", "error before any work", "2"),
    Row(
        36,
        "a file is hostile: random bytes, a header of 60000³ voxels, a gzip bomb, voxels in another folder",
        "error; no hang, no memory out of proportion",
        "3",
    ),
    Row(37, "a value has another type than its setting, a run id is wrong", "one line, before any work", "2"),
    Row(38, "weights of an earlier phase were made by other settings or data", "error that names what differs", "2"),
    Row(39, "one of several processes dies", "the others end within a minute", "not 0"),
    Row(
        51,
        "a scheduler ends a run (SIGTERM)",
        "it saves after the step it is in; `--resume true` goes on",
        "7",
    ),
    Row(
        53,
        "weights have learned from the patients of a test",
        "error, or with `--allow_seen true` a report of it",
        "2",
    ),
    Row(40, "two processes prepare one case of a cache", "one prepares it, the other waits"),
    Row(52, "a run of other settings, data or weights is resumed", "error that names what differs", "2"),
    Row(
        41,
        "studies have no id, one id, an id like `../x`, or another study's result lies there",
        "ids come from the paths, as far up as they differ; the rest is an error that names both",
        "3",
    ),
    Row(42, "some of many studies cannot be used", "they are named in the report, the others are done", "6"),
    Row(43, "inference is repeated", "done is: these files, weights and settings; all else is done again"),
    Row(44, "a name in `--datalist` begins with `$`", "error; nothing of it is evaluated", "2"),
    Row(45, "a header is in another unit, voxels are complex or colours", "error with what is expected", "3"),
    Row(46, "a gland mask is the whole scan", "warning with case and file"),
    Row(47, "weights were changed after they were written", "error: they are not what their record says", "4"),
    Row(55, "a path to predict holds no study", "error that says what was found instead", "3"),
    Row(
        56,
        "an export holds series that are not recognised, or several that may be meant",
        "they are named with their descriptions; `--series` names the right one",
        "0 or 6",
    ),
    Row(48, "one image is two patients, a datalist has a key twice or folds of two kinds", "error naming both", "3"),
)
