"""The texts of the report in English and Spanish, and numbers and dates as each language writes them."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from toolkit import study

LANGUAGES = ("en", "es")
UNITS = {"latency": (1e3, "ms"), "size": (1e-3, "kB")}  # factor, unit
SHARES = {name for name, more in study.MAXIMIZE.items() if more}


class Language:
    """Texts and numbers in one language: `say("trials")` -> what the template prints."""

    def __init__(self, name: str) -> None:
        self.name, self.index = name, LANGUAGES.index(name)

    def plain(self, key: str, **values: Any) -> str:
        """A text of `TEXTS` as one string."""
        return TEXTS[key][self.index].format(**values)

    def __call__(self, key: str, **values: Any) -> list[Any]:
        """A text for the template; in it `x` is code, and <x> refers to the table or figure labelled so."""
        # Split before the values come in: whatever they hold is printed as it is.
        parts = re.split(r"(`[^`]*`|<[^>]*>)", TEXTS[key][self.index].replace(" %", "\u00a0%"))
        made: list[Any] = []
        for part in filter(None, parts):
            inner = part[1:-1].format(**values) if part[0] in "`<" else part.format(**values)
            made.append({"code": inner} if part[0] == "`" else {"ref": inner} if part[0] == "<" else inner)
        return made

    def row(self, keys: str) -> list[str]:
        """Several short texts, for the head of a table."""
        return [self.plain(key) for key in keys.split()]

    def number(self, value: float | None, digits: int | None = None) -> str:
        """Rounded to so many decimals, else to three significant digits; a dash for what is not there."""
        if value is None or not math.isfinite(value):
            return "–"
        if digits is None and abs(value) >= 1000:
            digits = 0
        text = f"{value:.3g}" if digits is None else f"{value:,.{digits}f}"
        if not text.strip("-0.,"):
            text = text.removeprefix("-")  # what rounds to zero has no sign
        if self.name == "es":
            text = text.replace(",", "\u00a0").replace(".", ",")
        return text.replace("-", "−") if text.startswith("-") else text

    def tick(self, value: float) -> str:
        """With as many decimals as it needs, for an axis."""
        return self.number(value, next(n for n in range(9) if n == 8 or abs(value - round(value, n)) < 1e-9))

    def percent(self, share: float | None, digits: int = 2) -> str:
        """A share from 0 to 1 as a percentage."""
        if share is None or not math.isfinite(share):
            return "–"
        return f"{self.number(100 * share, digits)}\u00a0%"

    def value(self, value: Any) -> str:
        """An entry of a configuration."""
        if isinstance(value, bool):
            return self.plain("yes" if value else "no")
        if isinstance(value, (list, tuple)):
            return ", ".join(map(self.value, value)) or "–"
        if isinstance(value, float):
            return self.number(value)
        return "–" if value is None else str(value).replace("-", "\u2011")  # no line ends in a name

    def points(self, share: float | None) -> str:
        """A share, or a difference of two, in percentage points."""
        return self.number(None if share is None else 100 * share, 2)

    def metric(self, name: str, value: float | None) -> str:
        """A metric with its unit."""
        if name in SHARES:
            return self.percent(value)
        factor, unit = UNITS.get(name, (1, ""))
        return f"{self.number(None if value is None else factor * value)}\u00a0{unit}".strip()

    def called(self, name: str) -> str:
        """The name of a metric or of a kind of model, as a person reads it."""
        return self.plain(name) if name in TEXTS else name.replace("_", " ")

    def date(self, day: datetime.date) -> str:
        months = self.plain("months").split()
        return self.plain("date", day=day.day, month=months[day.month - 1], year=day.year)


# key: English | Spanish; indented lines go on. `x` is code, <x> refers to the table or figure labelled x.
WRITTEN = """
title: Handwritten digits: three classifiers compared
    | Dígitos manuscritos: comparación de tres clasificadores
date: {day} {month} {year} | {day} de {month} de {year}
months: January February March April May June July August September October November December
    | enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
yes: yes | sí
no: no | no
all: all | todas
from_to: {low} to {high} | de {low} a {high}
# names
ann: ANN | ANN
svm: SVM | SVM
accuracy: accuracy | exactitud
loss: loss | pérdida
log_loss: log loss | pérdida logarítmica
macro_f1: macro F1 | F1 macro
worst_recall: worst recall | peor exhaustividad
drawn_accuracy: accuracy on drawings | exactitud en dibujos
latency: time of an image | tiempo por imagen
size: model file | archivo del modelo
precision: precision | precisión
recall: recall | exhaust.
f1: F1 | F1
file: file | archivo
time: time | tiempo
strokes: strokes | trazos
pictures: pictures | imágenes dibujadas
model: model | modelo
errors: errors | errores
digit: digit | dígito
images: images | imágenes
mean: mean | media
run: training | entrenamiento
base: default | por defecto
chosen: chosen | elegido
epoch: epoch | época
epochs: epochs | épocas
train_accuracy: fit acc. | exact. ajuste
val_accuracy: choose acc. | exact. valid.
gap: gap | brecha
fell: fell | bajó
rose: rose | subió
diagnosis: diagnosis | diagnóstico
underfitting: underfitting | subajuste
overfitting: overfitting | sobreajuste
good_fit: good fit | buen ajuste
unknown: unknown | desconocido
running_split: training steps | pasos de entrenamiento
train_split: training split | partición de ajuste
val_split: choosing split | partición de validación
study: study | estudio
trial: trial | ensayo
trials: trials | ensayos
trial_number: trial of {study} | ensayo de {study}
state_finished: finished | terminados
state_pruned: pruned | podados
state_failed: failed | fallidos
state_other: other | otros
best_so_far: best so far | mejor hasta entonces
best_loss: best loss | mejor pérdida
best_accuracy: best accuracy | mejor exactitud
reason: reason | motivo
hyperparameter: hyperparameter | hiperparámetro
importance: loss of explained variance | pérdida de varianza explicada
importance_short: importance | importancia
best_quarter: in the better quarter of the trials | en el mejor cuarto de los ensayos
main_parameters: main hyperparameters | hiperparámetros principales
chosen_trial: chosen trial | ensayo elegido
read_as: read as | leído como
true_digit: true digit | dígito verdadero
entry: entry | parámetro
value: value | valor
command: command | orden
seeds: seeds | semillas
test: test split | partición de prueba
framed: framed drawings | dibujos encuadrados
canvas: unframed drawings | dibujos sin encuadrar
seconds: seconds | segundos
cores: cores | núcleos
megabytes: MB | MB
setting: augmentation | aumento
setting_off: off | ninguno
setting_translation and scale: translation and scale | traslación y escala
setting_0.33 of all: 0.33 of all | 0,33 de todo
setting_0.67 of all: 0.67 of all | 0,67 de todo
setting_all: all | todo
right_percent: right answers, % | aciertos, %
seeds and writers: seeds and writers | semillas y autores
seeds and images: seeds and images | semillas e imágenes
started: date | fecha
seed: seed | semilla
commit: commit | versión
machine: processor | procesador
source: results | resultados
place: taken from | tomados de
source_model: model | modelo
source_base: training, default configuration | entrenamiento por defecto
source_chosen: training, chosen configuration | entrenamiento elegido
source_trials: trials of sweeps | ensayos de las búsquedas
source_rows: base lines | líneas base
source_augmentation: augmentation experiment | experimento de aumento
source_notes: what else was tried | qué más se intentó
# headings
h_method: How it was measured | Cómo se midió
h_base: Base lines | Líneas base
h_training: Training | Entrenamiento
h_sweeps: Search for hyperparameters | Búsqueda de hiperparámetros
h_importance: Which hyperparameters matter | Qué hiperparámetros importan
h_pareto: Pareto fronts | Frentes de Pareto
h_models: The models | Los modelos
h_mistakes: Worst mistakes | Peores errores
h_configurations: Configurations | Configuraciones
h_augmentation: What augmentation changes | Qué cambia el aumento de datos
h_notes: What else was tried | Qué más se intentó
h_reproduce: How to reproduce | Cómo reproducirlo
# what is missing
makes_them: To make them: | Para obtenerlos:
missing_rows: There are no measured base lines. | No hay líneas base medidas.
missing_runs: There are no training records. | No hay registros de entrenamientos.
missing_base: Training records with the default configuration are missing.
    | Faltan registros de entrenamientos con la configuración por defecto.
missing_trials: Trials of searches are missing. | Faltan ensayos de búsquedas.
missing_fronts: There are no finished trials to compare. | No hay ensayos terminados que comparar.
missing_models: Trained models are missing. | Faltan modelos entrenados.
missing_test: The models are not tested here, for MNIST was not found: `--data DIR` says where it lies.
    | Los modelos no se prueban aquí, porque no se encontró MNIST: `--data DIR` indica dónde está.
missing_augmentation: There are no results of the augmentation experiment.
    | No hay resultados del experimento de aumento de datos.
# sections
method: Three classifiers of 28 × 28 images are compared: softmax regression, a neural network (ANN) and a
    support vector machine (SVM). The images are divided into three splits, the same for every model: the
    fitting split, on which models are trained; the choosing split (validation), on which hyperparameters are
    chosen; and the test split, on which results are reported and nothing is ever chosen. Figures of trainings
    and searches are those of the first two, figures of the final models those of the test split.
    | Se comparan tres clasificadores de imágenes de 28 × 28: regresión softmax, una red neuronal (ANN) y una
    máquina de vectores de soporte (SVM). Las imágenes se reparten en tres particiones, las mismas para todos
    los modelos: la de ajuste, con la que se entrena; la de validación, con la que se eligen los
    hiperparámetros; y la de prueba, con la que se informa de los resultados y nunca se elige nada. Las cifras
    de entrenamientos y búsquedas son de las dos primeras; las de los modelos finales, de la de prueba.
base_text: <tab-base> shows what the commands that come with the toolkit reach on the test split, and where
    they were measured, on recorded drawings: as strokes that are framed as in the training images, and as
    pictures.
    | <tab-base> muestra lo que alcanzan las órdenes de la herramienta en la partición de prueba y, donde se
    midió, en dibujos grabados: como trazos encuadrados igual que las imágenes de entrenamiento, y como
    imágenes.
base_caption: Accuracy of the base lines: mean ± standard deviation over the seeds; median of the seconds from
    the command to the saved model; size of the model file.
    | Exactitud de las líneas base: media ± desviación típica de las semillas; mediana de los segundos desde
    la orden hasta el modelo guardado; tamaño del archivo del modelo.
rules: Every training gets a diagnosis by fixed rules, the first that applies. Both splits are compared as
    they were evaluated after each epoch: clean images, no dropout, no label smoothing.
    | Cada entrenamiento recibe un diagnóstico según reglas fijas: la primera que se cumple. Ambas particiones
    se comparan tal como se evaluaron tras cada época: imágenes limpias, sin dropout ni suavizado de
    etiquetas.
rule_over: Overfitting: the accuracy on the fitting split is at the end more than {gap} points above that on
    the choosing split (gap); or, from {fewest} epochs on, the choosing loss, as the mean of the last fifth of
    the epochs, lies more than {rise} above its lowest value while the fitting loss fell (rose).
    | Sobreajuste: al final, la exactitud en la partición de ajuste supera en más de {gap} puntos la de la
    partición de validación (brecha); o, desde {fewest} épocas, la pérdida de validación, como media de la
    última quinta parte de las épocas, supera en más del {rise} su mínimo mientras bajaba la de ajuste
    (subió).
rule_under: Underfitting: more than {error} of the fitting split is read wrong at the end; or, from {fewest}
    epochs on, the mean choosing loss of the last fifth is more than {falling} below that of the fifth before
    (fell).
    | Subajuste: al final se lee mal más del {error} de la partición de ajuste; o, desde {fewest} épocas, la
    pérdida de validación media de la última quinta parte está más del {falling} por debajo de la anterior
    (bajó).
rule_good: Good fit: neither of these. | Buen ajuste: ninguna de las anteriores.
rules_note: The loss of the training steps, dotted in the figures, is not judged: with augmentation and label
    smoothing it lies above the loss of either split. Label smoothing can let the clean loss of both splits
    rise together while accuracy still grows; that is no overfitting.
    | La pérdida de los pasos de entrenamiento, punteada en las figuras, no se juzga: con aumento de datos y
    suavizado de etiquetas queda por encima de la de ambas particiones. El suavizado puede hacer subir a la
    vez la pérdida limpia de ambas mientras la exactitud aún crece; eso no es sobreajuste.
diagnoses_caption: Diagnoses of the trainings: images asked for, accuracy of both splits at the end, and what
    the rules go by (gap in percentage points).
    | Diagnóstico de los entrenamientos: imágenes pedidas, exactitud final de ambas particiones y lo que miran
    las reglas (brecha en puntos porcentuales).
curves_figure: Learning curves, {run}: {verdict}. | Curvas de aprendizaje, {run}: {verdict}.
sweeps_text: A search trains one configuration after the other on the fitting split and measures it on the
    choosing split. Hopeless trials can be stopped early (pruned); one that raises an error counts as failed,
    with its reason on record. <tab-sweeps> counts them.
    | Una búsqueda entrena una configuración tras otra con la partición de ajuste y la mide en la de
    validación. Los ensayos sin esperanza pueden detenerse antes (podados); el que produce un error cuenta
    como fallido y su motivo queda registrado. <tab-sweeps> los cuenta.
sweeps_caption: Trials of each study, by what became of them, and the best values of finished trials.
    | Ensayos de cada estudio según cómo acabaron, y los mejores valores de los terminados.
reasons_caption: Why trials failed. | Por qué fallaron ensayos.
history_figure: Loss on the choosing split of every trial, in the order of the search. Of pruned trials it is
    the loss at the epoch at which they were stopped.
    | Pérdida en la partición de validación de cada ensayo, en el orden de la búsqueda. La de los podados es
    la de la época en que se detuvieron.
importance_text: A random forest learns to predict the logarithm of the loss from the hyperparameters of the
    trials. The importance of one is the part of the variance that the forest no longer explains, in trials
    that it was not fitted on, when that hyperparameter's values are shuffled (L. Breiman: Random forests,
    2001; five-fold cross-validation, repeated). One that is not relevant in a trial has a fixed value there
    and is shuffled among the others. Pruned trials take part with the loss at which they were stopped; the
    number of epochs, and the study where there are several, are further inputs of the forest (grey).
    | Un bosque aleatorio aprende a predecir el logaritmo de la pérdida a partir de los hiperparámetros de las
    ensayos. La importancia de uno es la parte de la varianza que el bosque deja de explicar, en ensayos con
    los que no se ajustó, cuando se barajan sus valores (L. Breiman: Random forests, 2001; validación cruzada
    de cinco partes, repetida). El que no es relevante en un ensayo tiene en él un valor fijo y se baraja
    entre los demás. Los podados participan con la pérdida con la que se detuvieron; el número de épocas, y el
    estudio donde hay varios, son entradas adicionales del bosque (en gris).
importance_figure: Importance of the hyperparameters: mean and standard deviation over the repetitions. R² of
    the forest on held-out trials, and their number: {r2}. The nearer R² is to 0, the less the bars mean.
    | Importancia de los hiperparámetros: media y desviación típica de las repeticiones. R² del bosque en
    ensayos reservados, y su número: {r2}. Cuanto más cerca de 0 está R², menos significan las barras.
best_caption: The most important hyperparameters, and their values in the better quarter of the finished
    trials that have them (how many of these, in parentheses).
    | Los hiperparámetros más importantes y sus valores en el mejor cuarto de los ensayos terminados que los
    tienen (entre paréntesis, en cuántos de ellos).
importance_few: For {models} there are fewer than {fewest} trials that differ: too few to say.
    | De {models} hay menos de {fewest} ensayos que difieran: demasiado pocos para decirlo.
pareto_text: A trial is on the front when no other trial of its study is at least as good in both objectives
    and better in one. All figures are those of the choosing split.
    | Un ensayo está en el frente si ningún otro de su estudio es al menos igual de bueno en ambos objetivos y
    mejor en uno. Todas las cifras son de la partición de validación.
pareto_chosen: The configurations of the final models are those of the trials marked with a ring and *:
    {trials}.
    | Las configuraciones de los modelos finales son las de los ensayos marcados con un aro y *: {trials}.
fronts_figure: Finished trials by pairs of objectives; the lines join those on the front of each study. The
    scale of percentages stretches towards 100 %.
    | Ensayos terminados por pares de objetivos; las líneas unen los del frente de cada estudio. La escala de
    los porcentajes se estira hacia el 100 %.
front_caption: Fronts of {x} and {y}: {shown} of {total} trials on them, the best in {x} first.
    | Frentes de {x} y {y}: {shown} de sus {total} ensayos, primero los mejores en {x}.
models_text: Each model file was loaded and tested for this report on the {total} images of `{test}`.
    | Para este informe se cargó cada archivo de modelo y se probó con las {total} imágenes de `{test}`.
models_caption: The models on the test split (and on drawings, where measured), size of the file, and median
    time of the prediction of one image on the computer that wrote this report.
    | Los modelos en la partición de prueba (y en dibujos, donde se midió), tamaño del archivo y tiempo
    mediano de predicción de una imagen en el ordenador que escribió este informe.
trained: The file `{path}` was trained on {count} images of `{images}`, seed {seed}{augmentation}.
    | El archivo `{path}` se entrenó con {count} imágenes de `{images}`, semilla {seed}{augmentation}.
trained_unknown: The file `{path}` was trained on data that it does not name.
    | El archivo `{path}` se entrenó con datos que no nombra.
with_augmentation: , with augmentation of strength {strength}
    | , con aumento de datos de intensidad {strength}
from_trial: Its configuration is that of trial {number}. | Su configuración es la del ensayo {number}.
most_frequent: Most frequent confusions (true → read as): {pairs}.
    | Confusiones más frecuentes (verdadero → leído): {pairs}.
confusion_figure: Confusion matrix, {model}. | Matriz de confusión, {model}.
digits_caption: By digit, {model} (%). | Por dígito, {model} (%).
mistakes_figure: The mistakes in which the true digit got the least probability, a row a model: true digit →
    answer, and the probability of that answer.
    | Los errores en que el dígito verdadero recibió menos probabilidad, una fila por modelo: dígito verdadero
    → respuesta, y la probabilidad de esa respuesta.
config_caption: Configuration, {model}. | Configuración, {model}.
augmentation_text: Both models were trained without augmentation and with four settings of it, with {seeds}
    seeds each, and tested on the test split, on recorded drawings framed as the training images are, and on
    the same drawings as a program without framing sees them.
    | Ambos modelos se entrenaron sin aumento de datos y con cuatro variantes de él, con {seeds} semillas cada
    una, y se probaron en la partición de prueba, en dibujos grabados encuadrados como las imágenes de
    entrenamiento, y en los mismos dibujos tal como los ve un programa que no los encuadra.
augmentation_figure: Accuracy by augmentation: mean and its 95 % interval over the seeds.
    | Exactitud según el aumento de datos: media y su intervalo del 95 % sobre las semillas.
augmentation_caption: Right answers in %: mean ± half of its 95 % interval (Student's t over the seeds).
    | Aciertos en %: media ± mitad de su intervalo del 95 % (t de Student sobre las semillas).
compared_caption: Difference in percentage points from training without augmentation ± half of its 95 %
    interval, and p by Clark's min F′ with Holm's correction over a model's comparisons. Taken as random:
    {units}.
    | Diferencia en puntos porcentuales respecto al entrenamiento sin aumento ± mitad de su intervalo del 95
    %, y p según la min F′ de Clark con la corrección de Holm por modelo. Tomados como aleatorios: {units}.
reproduce_text: The commands, as recorded or rebuilt from the records, without the flags that say where data
    and output lie. `DIR` stands for the folder with MNIST, `FILE` for recorded drawings.
    | Las órdenes, tal como se registraron o reconstruidas de los registros, sin las opciones que dicen dónde
    están datos y resultados. `DIR` es la carpeta de MNIST; `FILE`, los dibujos grabados.
runs_caption: The trainings on record. | Los entrenamientos registrados.
versions: Versions: {versions}. | Versiones: {versions}.
sources_caption: Where the results were taken from. | De dónde se tomaron los resultados.
# summary
sum_text: What the results say: | Lo que dicen los resultados:
sum_best: The best model on the test split is {model}: {accuracy}, {errors} of {total} images read wrong
    | El mejor modelo en la partición de prueba es {model}: {accuracy}, {errors} de {total} imágenes mal
    leídas
sum_other: ; {model} {accuracy} ({errors}) | ; {model} {accuracy} ({errors})
sum_criteria: The highest recall of the worst digit is that of {worst} ({recall}); the smallest file is that
    of {small} ({size}), the fastest answer that of {fast} ({latency}).
    | La mayor exhaustividad del peor dígito es la de {worst} ({recall}); el archivo más pequeño es el de
    {small} ({size}) y la respuesta más rápida la de {fast} ({latency}).
sum_drawn: On {name}, {model} is best: {accuracy}. | En {name}, el mejor es {model}: {accuracy}.
sum_augmentation: All of the augmentation changes the accuracy of {model} on {test} by {points} points (95 %
    interval {low} to {high}).
    | Todo el aumento de datos cambia la exactitud de {model} en {test} en {points} puntos (intervalo del 95
    %: de {low} a {high}).
sum_importance: What matters most in the search for {model}: {names}.
    | Lo que más importa en la búsqueda de {model}: {names}.
sum_unclear: The trials of {model} are too few to say which hyperparameters matter.
    | Los ensayos de {model} son demasiado pocos para decir qué hiperparámetros importan.
sum_diagnoses: Diagnoses of the trainings: {verdicts}. | Diagnóstico de los entrenamientos: {verdicts}.
"""


def _read(written: str) -> dict[str, tuple[str, ...]]:
    """The texts by key, in the order of LANGUAGES."""
    entries = re.findall(r"^([^#\s].*?): (.*(?:\n .*)*)", written, re.MULTILINE)
    return {key: tuple(" ".join(text.split()) for text in texts.split("|")) for key, texts in entries}


TEXTS = _read(WRITTEN)
